"""Rows of a SELECT against PostgreSQL, streamed to a file.

The server sends the rows as CSV (``COPY (...) TO STDOUT``) and they pass to disk block by block: the memory needed does
not grow with the result, and no row becomes a Python object. The transaction is read-only.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from freqd.errors import InputError
from freqd.progress import Progress, silent
from freqd.storage.database_url import FORM, Address
from freqd.storage.files import replacing, storage_error, text_digest, write_atomic

_CONNECT_SECONDS = 15
SNAPSHOT_SECONDS = 3600.0
"""How long the rows fetched to compute a digest stand for the query, so that ingest reads what was digested."""


@dataclass(frozen=True)
class Snapshot:
    """The fetched rows: a CSV file with a header, and the SHA-256 of its bytes."""

    path: Path
    digest: str

    def discard(self) -> None:
        """Delete the rows, which are the user's data and no longer needed."""
        self.path.unlink(missing_ok=True)
        self.path.with_suffix(".json").unlink(missing_ok=True)


def database_address(variable: str) -> Address:
    """The database's address from the environment.

    Raises:
        InputError: the variable is not set, or holds no address.
    """
    text = os.environ.get(variable, "").strip()
    if not text:
        raise InputError(
            f"data.sql needs the database's address, but the environment variable {variable} is not set",
            f"export {variable}={FORM}",
        )
    return Address.parse(text, variable)


def fetch_rows(query: str, variable: str, cache_dir: Path, *, reuse: bool, progress: Progress = silent) -> Snapshot:
    """Run ``query`` and keep its rows in ``cache_dir``.

    Args:
        query: one SELECT (or WITH ... SELECT).
        variable: name of the environment variable with the database's address.
        cache_dir: folder for the rows; they are readable by this user only.
        reuse: take the rows that are there if they were fetched within ``SNAPSHOT_SECONDS``.
        progress: called with what has arrived.

    Raises:
        InputError: the server does not answer, refuses the query, or sends no rows; or the disk is full.
    """
    address = database_address(variable)
    statement = query.strip().rstrip(";").strip()
    folder = cache_dir / "sql"
    path = folder / f"{text_digest(address.url('postgresql'), statement)[:32]}.csv"
    if reuse and (kept := _kept(path)) is not None:
        return kept
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with replacing(path) as made:
            made.touch(mode=0o600)
            digest, rows = _copy(address, statement, made, variable, progress)
            if rows == 0:
                raise InputError("the query of data.sql returns no rows", "run it in psql and check its conditions")
        write_atomic(path.with_suffix(".json"), json.dumps({"digest": digest, "fetched": time.time()}))
    except OSError as error:
        raise storage_error(error, folder) from error
    return Snapshot(path, digest)


def _kept(path: Path) -> Snapshot | None:
    note = path.with_suffix(".json")
    if not (path.is_file() and note.is_file()):
        return None
    known = json.loads(note.read_text())
    if not 0.0 <= time.time() - float(known["fetched"]) < SNAPSHOT_SECONDS:
        return None
    return Snapshot(path, str(known["digest"]))


def _copy(address: Address, statement: str, target: Path, variable: str, progress: Progress) -> tuple[str, int]:
    """Stream the result into ``target``; returns its SHA-256 and the number of rows."""
    import psycopg  # loads libpq: only runs that read from a database pay for it

    digest, size = hashlib.sha256(), 0
    try:
        with psycopg.connect(
            **address.arguments(), connect_timeout=_CONNECT_SECONDS, application_name="freqd"
        ) as connection:
            connection.read_only = True
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL TimeZone = 'UTC'")
                cursor.execute("SET LOCAL DateStyle = 'ISO'")
                # Without it a big table may start in the middle, and equal rows would get another digest.
                cursor.execute("SET LOCAL synchronize_seqscans = off")
                command = f"COPY ({statement}) TO STDOUT (FORMAT csv, HEADER true)".encode()
                with target.open("wb") as file, cursor.copy(command) as copy:
                    for block in copy:
                        file.write(block)
                        digest.update(block)
                        size += len(block)
                        progress(0.0, f"{size / 1e6:.1f} MB from the database")
                return digest.hexdigest(), cursor.rowcount
    except psycopg.OperationalError as error:
        raise InputError(
            f"the database named by {variable} cannot be reached: {_first_line(error)}",
            "check that it runs, its address, user and password",
        ) from error
    except psycopg.ProgrammingError as error:
        raise InputError(
            f"the database refuses the query of data.sql: {_first_line(error)}", "give one SELECT that psql accepts"
        ) from error
    except psycopg.Error as error:
        raise InputError(f"the query of data.sql failed: {_first_line(error)}", "run it in psql and fix it") from error


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
