"""Addresses of PostgreSQL databases: taken apart here, so that a password never reaches a driver's parser.

A driver that cannot parse an address quotes it in its error, and one that parses it otherwise than it was meant asks a name
server for a part of the password.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

from freqd.errors import InputError

FORM = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
_PLAIN = r"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})"
_ADDRESS = re.compile(
    rf"(?:postgresql|postgres)(?:\+(?:psycopg|asyncpg))?://(?:(?P<user>{_PLAIN}*)(?::(?P<password>(?:{_PLAIN}|:)*))?@)?"
    rf"(?P<host>[A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{{1,5}}))?/(?P<database>{_PLAIN}+)(?:\?(?P<query>[^@#]*))?"
)


@dataclass(frozen=True)
class Address:
    """Where a database is; ``repr`` shows no password."""

    host: str
    port: int | None
    database: str
    user: str | None
    password: str | None = field(repr=False)
    options: dict[str, str]

    @classmethod
    def parse(cls, text: str, variable: str) -> Address:
        """The address in an environment variable.

        Raises:
            InputError: it is none; nothing of it is quoted.
        """
        found = _ADDRESS.fullmatch(text.strip())
        if found is None:
            raise InputError(
                f"{variable} is no PostgreSQL address of the form {FORM}",
                "in user and password write other characters than letters and digits as % and two hex digits: @ as %40, / as %2F, "
                "# as %23, ? as %3F, : as %3A, % as %25",
            )
        part = found.groupdict()
        options = dict(parse_qsl(part["query"] or "", keep_blank_values=True))
        if not part["host"] and "host" not in options:
            raise InputError(f"{variable} is a PostgreSQL address without a host", f"write {FORM}")
        return cls(
            host=part["host"].strip("[]"),
            port=None if part["port"] is None else int(part["port"]),
            database=unquote(part["database"]),
            user=None if part["user"] is None else unquote(part["user"]),
            password=None if part["password"] is None else unquote(part["password"]),
            options=options,
        )

    def arguments(self) -> dict[str, Any]:
        """For ``psycopg.connect``: no text that would have to be parsed."""
        named = {
            "host": self.host,
            "port": self.port,
            "dbname": self.database,
            "user": self.user,
            "password": self.password,
        }
        return {**{name: value for name, value in named.items() if value not in (None, "")}, **self.options}

    def url(self, scheme: str, **options: str) -> str:
        """The address for another program: every part is quoted, and ``options`` are added."""
        who = "" if self.user is None else quote(self.user, safe="")
        who += "" if self.password is None else f":{quote(self.password, safe='')}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        query = urlencode({**self.options, **options}, quote_via=quote)
        place = f"{who}@{host}{port}" if who else f"{host}{port}"
        return f"{scheme}://{place}/{quote(self.database, safe='')}{'?' if query else ''}{query}"
