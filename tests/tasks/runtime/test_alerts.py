"""Alerts by e-mail and webhook, against servers on this machine."""

from __future__ import annotations

import json
import socketserver
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from freqd.errors import InputError
from tasks.runtime.alerts import AlertError, Mail, Webhook, channel_of, channels_of, file_of, keep, send
from tasks.runtime.workspace import Workspace

SECRET = "s3cret-of-the-mail-server"


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


class MailServer(socketserver.ThreadingTCPServer):
    """As much of SMTP as a client needs; ``told`` is what it was told."""

    def __init__(self, refuse: str = "") -> None:
        self.told: list[str] = []
        self.refuse = refuse
        super().__init__(("127.0.0.1", 0), _Mail)


class _Mail(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        body = False
        for raw in self.rfile:
            line = raw.decode().rstrip("\r\n")
            self.server.told.append(line)
            if body:
                body = line != "."
                self.wfile.write(b"" if body else b"250 taken\r\n")
            elif self.server.refuse and line.upper().startswith(self.server.refuse):
                self.wfile.write(f"535 no: {SECRET}\r\n".encode())
            elif line.upper().startswith("EHLO"):
                self.wfile.write(b"250-here\r\n250 AUTH PLAIN LOGIN\r\n")
            elif line.upper() == "DATA":
                body = True
                self.wfile.write(b"354 go on\r\n")
            elif line.upper().startswith("AUTH"):
                self.wfile.write(b"235 known\r\n")
            elif line.upper() == "QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 ok\r\n")


class Hook(HTTPServer):
    """A webhook; ``told`` is what it was sent."""

    def __init__(self, status: int = 200) -> None:
        self.told: list[dict[str, Any]] = []
        self.status = status
        super().__init__(("127.0.0.1", 0), _Hook)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook/t0ken"


class _Hook(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        self.server.told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        return


def test_a_message_arrives_by_mail_with_the_users_name_and_password() -> None:
    server = MailServer()
    with serving(server):
        channel = channel_of("ops@example.org", f"smtp://freqd@127.0.0.1:{server.server_address[1]}", None, SECRET)
        channel.send("freqd: run\nshop has failed", "It is över.")
    said = "\n".join(server.told)
    assert "rcpt TO:<ops@example.org>" in said
    assert "AUTH" in said
    assert "Subject: freqd: run shop has failed" in said, "one line, whatever the run is called"


def test_a_message_arrives_at_a_webhook_as_chat_programs_read_it() -> None:
    server = Hook()
    with serving(server):
        assert send([channel_of(server.url, None, None, "")], "freqd: a test", "all of it") == []
    assert server.told == [{"text": "*freqd: a test*\nall of it", "subject": "freqd: a test", "body": "all of it"}]


def test_what_does_not_arrive_is_told_and_the_others_are_sent() -> None:
    refusing, gone, fine = Hook(500), Hook(), Hook()
    gone.server_close()
    with serving(refusing), serving(fine):
        failed = send([Webhook(url=SecretStr(hook.url)) for hook in (refusing, gone, fine)], "a", "b")
    assert len(failed) == 2
    assert "it answered 500" in failed[0]
    assert fine.told
    assert "t0ken" not in " ".join(failed)


def test_no_error_shows_the_password() -> None:
    server = MailServer(refuse="AUTH")
    with serving(server):
        channel = channel_of("ops@example.org", f"smtp://freqd@127.0.0.1:{server.server_address[1]}", None, SECRET)
        with pytest.raises(AlertError) as caught:
            channel.send("a", "b")
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(channel)
    assert SECRET not in channel.shown


def test_a_line_break_is_no_part_of_a_sender_and_a_login_may_be_an_address() -> None:
    with pytest.raises(InputError, match="--from"):
        channel_of("ops@example.org", "smtp://mail.example.org", "a@b\nBcc: c@d", "")
    channel = channel_of("ops@example.org", "smtp://ops%40example.org@mail.example.org", None, "")
    assert isinstance(channel, Mail)
    assert channel.user == "ops@example.org"


def test_addresses_are_kept_for_their_owner_alone(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert channels_of(workspace) == ()
    channels = (
        channel_of("ops@example.org", "smtps://freqd@mail.example.org", "shop@example.org", SECRET),
        channel_of("https://hooks.example.org/t0ken", None, None, ""),
    )
    keep(workspace, channels)
    assert channels_of(workspace) == channels
    assert stat.S_IMODE(file_of(workspace).stat().st_mode) == 0o600
    file_of(workspace).write_text("[{")
    with pytest.raises(InputError, match="damaged"):
        channels_of(workspace)


@pytest.mark.parametrize(
    ("smtp", "tls", "port"),
    [
        ("smtp://mail.example.org", "starttls", 587),
        ("smtp://mail.example.org:25", "starttls", 25),
        ("smtps://mail.example.org", "implicit", 465),
        ("smtp://127.0.0.1:2525", "none", 2525),
    ],
)
def test_nothing_goes_over_a_network_in_the_clear(smtp: str, tls: str, port: int) -> None:
    channel = channel_of("ops@example.org", smtp, None, "")
    assert isinstance(channel, Mail)
    assert (channel.tls, channel.port) == (tls, port)


@pytest.mark.parametrize(
    ("to", "smtp", "said"),
    [
        ("ops@example.org", None, "no mail server"),
        ("ops", "smtp://mail.example.org", "neither an e-mail address nor a webhook"),
        ("a@b@c", "smtp://mail.example.org", "neither an e-mail address nor a webhook"),
        ("ops@example.org", "mail.example.org:587", "is no mail server"),
        ("ops@example.org", "smtp://mail.example.org:port", "is no mail server"),
        ("ops@example.org", f"smtp://freqd:{SECRET}@mail.example.org", "holds a password"),
        ("https://", None, "no address of a webhook"),
        ("http://[x", None, "no address of a webhook"),
        ("ops@example.org", "smtp://[x", "is no mail server"),
        ("ops@example.org", "smtp://mail.example.org:99999", "is no mail server"),
    ],
)
def test_what_is_wrong_is_named_without_secrets(to: str, smtp: str | None, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        channel_of(to, smtp, None, "")
    assert SECRET not in f"{caught.value}"
