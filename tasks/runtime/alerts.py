"""Where alerts go, and how they get there: by e-mail or to a webhook.

The addresses lie in one file of the working directory that only its owner can read, with passwords and webhooks, which are
secrets too. Prefect knows neither: its automations name a block without any, see ``tasks.runtime.alert_block``.
"""

from __future__ import annotations

import json
import smtplib
import socket
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import SplitResult, unquote, urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, field_serializer

from freqd.errors import FreqdError, InputError
from freqd.storage.files import write_atomic
from tasks.runtime.workspace import Workspace

SECONDS = 15.0
"""How long a mail server or a webhook may take to answer."""
SMTP_PORT, SMTPS_PORT = 587, 465
SMTP_FORM = "smtp://USER@HOST:587 or smtps://USER@HOST:465; the password comes by FREQD_SMTP_PASSWORD"


class AlertError(FreqdError):
    """An alert that did not arrive."""


class _Channel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Mail(_Channel):
    """E-mail by a server of the company.

    Attributes:
        to: the recipient.
        sender: whom it is from.
        host, port: of the mail server.
        tls: ``implicit`` from the first byte on, ``starttls`` before anything else is said, or ``none``, on this machine only.
        user, password: for a server that asks who sends.
    """

    kind: Literal["mail"] = "mail"
    to: str
    sender: str
    host: str
    port: int
    tls: Literal["implicit", "starttls", "none"]
    user: str = ""
    password: SecretStr = SecretStr("")

    @field_serializer("password", when_used="json")
    def _plain(self, value: SecretStr) -> str:
        return value.get_secret_value()

    @property
    def shown(self) -> str:
        """For people: without the password."""
        return f"{self.to}, by {self.host}:{self.port}"

    def send(self, subject: str, body: str) -> None:
        """Send a message.

        Raises:
            AlertError: the server did not take it.
        """
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self.sender, self.to, " ".join(subject.split())
        message.set_content(body)
        trusted = ssl.create_default_context()
        try:
            if self.tls == "implicit":
                server: smtplib.SMTP = smtplib.SMTP_SSL(self.host, self.port, timeout=SECONDS, context=trusted)
            else:
                server = smtplib.SMTP(self.host, self.port, timeout=SECONDS)
            with server:
                if self.tls == "starttls":
                    server.starttls(context=trusted)
                if self.user:
                    server.login(self.user, self.password.get_secret_value())
                server.send_message(message)
        except (OSError, smtplib.SMTPException) as error:
            raise AlertError(f"{self.shown}: {type(error).__name__}: {_without(str(error), self.password)}") from error


class Webhook(_Channel):
    """A POST of JSON: ``text`` (as Slack, Mattermost and Teams show it), ``subject`` and ``body``."""

    kind: Literal["webhook"] = "webhook"
    url: SecretStr

    @field_serializer("url", when_used="json")
    def _plain(self, value: SecretStr) -> str:
        return value.get_secret_value()

    @property
    def shown(self) -> str:
        """For people: without the path, which often is a secret."""
        parts = urlsplit(self.url.get_secret_value())
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/…"

    def send(self, subject: str, body: str) -> None:
        """Send a message.

        Raises:
            AlertError: the other side did not take it.
        """
        content = {"text": f"*{subject}*\n{body}", "subject": subject, "body": body}
        try:
            answer = httpx.post(self.url.get_secret_value(), json=content, timeout=SECONDS)
        except httpx.HTTPError as error:
            raise AlertError(f"{self.shown}: {type(error).__name__}") from error
        if not answer.is_success:
            raise AlertError(f"{self.shown}: it answered {answer.status_code}")


Channel = Annotated[Mail | Webhook, Field(discriminator="kind")]
_CHANNELS: TypeAdapter[tuple[Channel, ...]] = TypeAdapter(tuple[Channel, ...])


def file_of(workspace: Workspace) -> Path:
    """Where the channels are kept."""
    return workspace.root / "alerts.json"


def keep(workspace: Workspace, channels: Sequence[Channel]) -> None:
    """Keep the channels, for nobody but the owner of the working directory."""
    write_atomic(
        file_of(workspace), json.dumps(_CHANNELS.dump_python(tuple(channels), mode="json"), indent=1), mode=0o600
    )


def channels_of(workspace: Workspace) -> tuple[Channel, ...]:
    """The channels; none if nobody asked for alerts.

    Raises:
        InputError: the file is damaged.
    """
    path = file_of(workspace)
    if not path.exists():
        return ()
    try:
        return _CHANNELS.validate_json(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read, or is damaged", "say where alerts go again: freqd alerts --to ..."
        ) from error


def send(channels: Sequence[Channel], subject: str, body: str) -> list[str]:
    """Send a message to all channels; what went wrong, a line for each that did not take it."""
    failed = []
    for channel in channels:
        try:
            channel.send(subject, body)
        except AlertError as error:
            failed.append(str(error))
    return failed


def channel_of(to: str, smtp: str | None, sender: str | None, password: str) -> Channel:
    """What ``--to`` names.

    Args:
        to: an e-mail address or the URL of a webhook.
        smtp: ``smtp://[USER@]HOST[:PORT]`` or ``smtps://...``; for e-mail.
        sender: from whom e-mail comes; by default freqd on this machine.
        password: of the mail server's user; empty for none.

    Raises:
        InputError: something is missing, or a password would go over the network in the clear.
    """
    if sender is not None and any(c in sender for c in "\r\n"):
        raise InputError("--from holds a line break", "for example --from freqd@example.org")
    if to.startswith(("http://", "https://")):
        if _split(to) is None:
            raise InputError(
                f"--to {to!r} is no address of a webhook", "for example --to https://hooks.example.org/freqd"
            )
        return Webhook(url=SecretStr(to))
    if to.count("@") != 1 or any(c.isspace() for c in to) or to.startswith("@") or to.endswith("@"):
        raise InputError(f"--to {to!r} is neither an e-mail address nor a webhook", "for example --to ops@example.org")
    if smtp is None:
        raise InputError("no mail server is named", "name it with --smtp smtp://mail.example.org:587")
    parts = _split(smtp)
    if parts is not None and parts.password is not None:
        raise InputError("--smtp holds a password", SMTP_FORM)
    if parts is None or parts.scheme not in ("smtp", "smtps"):
        raise InputError(f"--smtp {smtp.rpartition('@')[2]!r} is no mail server", SMTP_FORM)
    host = str(parts.hostname)
    here = host in ("127.0.0.1", "localhost", "::1")
    implicit = parts.scheme == "smtps"
    return Mail(
        to=to,
        sender=sender or f"freqd@{socket.getfqdn()}",
        host=host,
        port=parts.port or (SMTPS_PORT if implicit else SMTP_PORT),
        tls="implicit" if implicit else "none" if here else "starttls",
        user=unquote(parts.username or ""),
        password=SecretStr(password),
    )


def _split(url: str) -> SplitResult | None:
    """The parts of an address; None if it has no host, or no port that could be one."""
    try:
        parts = urlsplit(url)
        return parts if parts.hostname and parts.port != 0 else None
    except ValueError:
        return None


def _without(text: str, secret: SecretStr) -> str:
    value = secret.get_secret_value()
    return text.replace(value, "…") if value else text
