"""The downloader against a server on this machine that breaks off, forgets ranges and lies."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from freqd.data.download import Patience, Remote, fetch, git_blob_id
from freqd.errors import InputError

CONTENT = bytes(range(256)) * 4096  # 1 MiB
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    content = CONTENT
    ranges = True
    break_after: int | None = None
    breaks_left = 0
    status = 200
    asked: list[str | None]  # the Range header of every request


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else 0
        if start >= len(self.server.content):
            self.send_error(416)
            return
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.breaks_left and self.server.break_after is not None:
            self.server.breaks_left -= 1
            body = body[: self.server.break_after]
        self.wfile.write(body)
        self.close_connection = True


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def remote(server: Server, checksum: str = f"sha256:{DIGEST}") -> Remote:
    return Remote(f"http://127.0.0.1:{server.server_port}/data.bin", "data.bin", checksum)


def get(source: Remote, folder: Path, attempts: int = 4, **options: object) -> Path:
    patience = Patience(attempts, pause=lambda seconds: None)
    return fetch(source, folder, patience=patience, **options)  # type: ignore[arg-type]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_good_download_happens_once(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[float, str]] = []
    path = get(remote(server), tmp_path, progress=lambda done, text: seen.append((done, text)))
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == ["data.bin"]
    assert seen[-1] == (1.0, "data.bin: 1.0 MB")
    assert get(remote(server), tmp_path) == path
    assert len(server.asked) == 1


def test_a_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"SHA-256 is {DIGEST}, expected 00"):
        get(remote(server, "sha256:00"), tmp_path)
    assert names(tmp_path) == []


def test_a_git_blob_id_is_checked(server: Server, tmp_path: Path) -> None:
    (tmp_path / "hello").write_bytes(b"hello\n")
    assert git_blob_id(tmp_path / "hello") == "ce013625030ba8dba906f756967f9e9ca394464a"  # git hash-object
    with pytest.raises(InputError, match="git blob id"):
        get(remote(server, "git:ce01"), tmp_path / "x")
    server.content = b"hello\n"
    assert get(remote(server, "git:ce013625030ba8dba906f756967f9e9ca394464a"), tmp_path).read_bytes() == b"hello\n"


def test_an_interrupted_download_goes_on(server: Server, tmp_path: Path) -> None:
    server.break_after, server.breaks_left = 300_000, 2
    assert get(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-", "bytes=600000-"]


def test_a_later_run_goes_on(server: Server, tmp_path: Path) -> None:
    server.break_after, server.breaks_left = 300_000, 1
    with pytest.raises(InputError, match=r"could not be downloaded: .*300000 of"):
        get(remote(server), tmp_path, attempts=1)
    assert names(tmp_path) == ["data.bin.part"]
    assert get(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=300000-"


def test_a_server_without_ranges_starts_anew(server: Server, tmp_path: Path) -> None:
    server.ranges, server.break_after, server.breaks_left = False, 300_000, 1
    assert get(remote(server), tmp_path).read_bytes() == CONTENT


def test_a_beginning_of_another_version_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.bin.part").write_bytes(b"old" * 1000)
    assert get(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.asked == ["bytes=3000-", None]


def test_a_whole_part_is_taken(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.bin.part").write_bytes(CONTENT)
    assert get(remote(server), tmp_path).read_bytes() == CONTENT


def test_a_damaged_copy_is_fetched_again(server: Server, tmp_path: Path) -> None:
    path = get(remote(server), tmp_path)
    path.write_bytes(b"damaged")
    assert get(remote(server), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("status", [404, 503])
def test_refusals(server: Server, tmp_path: Path, status: int) -> None:
    server.status = status
    with pytest.raises(InputError, match=str(status)) as caught:
        get(remote(server), tmp_path)
    assert "FREQD_DATA_DIR" in caught.value.remedy
    assert len(server.asked) == (1 if status == 404 else 4)


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="could not be downloaded"):
        get(Remote("http://127.0.0.1:9/x", "x", "sha256:00"), tmp_path)
