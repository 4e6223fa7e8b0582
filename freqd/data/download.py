"""Files from their owner's address: resumed, checked, and there only when whole.

A file is checked against what is known of it: a SHA-256, or the git blob id of the commit that the address names.
"""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from freqd.errors import InputError
from freqd.progress import Progress, silent
from freqd.storage.files import file_digest, storage_error

_BLOCK = 1 << 18


@dataclass(frozen=True)
class Remote:
    """A file at its owner's address.

    Attributes:
        url: its address.
        filename: its name here.
        checksum: ``sha256:`` and its SHA-256; where that is not known, ``git:`` and its git blob id (SHA-1 over the
            header ``blob <size>`` and the content).
    """

    url: str
    filename: str
    checksum: str


@dataclass(frozen=True)
class Patience:
    """How long a broken transfer is tried again.

    Attributes:
        attempts: how often it is begun.
        timeout: seconds without an answer.
        pause: waits for so many seconds.
    """

    attempts: int = 4
    timeout: float = 30.0
    pause: Callable[[float], None] = time.sleep


PATIENCE = Patience()


def git_blob_id(path: Path) -> str:
    """The id that git gives to this file's content."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def mismatch(path: Path, remote: Remote) -> str | None:
    """What is wrong with a downloaded file, or None."""
    kind, expected = remote.checksum.split(":")
    label, checksum = {"sha256": ("SHA-256", file_digest), "git": ("git blob id", git_blob_id)}[kind]
    found = checksum(path)
    return None if found == expected else f"its {label} is {found}, expected {expected}"


def fetch(
    remote: Remote,
    folder: Path,
    *,
    progress: Progress = silent,
    patience: Patience = PATIENCE,
) -> Path:
    """Bring ``remote`` into ``folder`` unless a good copy is there, and return its path.

    A broken transfer resumes where it stopped (``<file>.part``), after a pause that doubles. The file gets its name
    only when it is whole and its digest is right.

    Raises:
        InputError: the address does not answer, the content has another digest, or the folder cannot be written.
    """
    target = folder / remote.filename
    if target.is_file() and mismatch(target, remote) is None:
        return target
    part = target.with_name(f"{target.name}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        resumed = part.is_file() and part.stat().st_size > 0
        _transfer(remote, part, progress, patience)
        wrong = mismatch(part, remote)
        if wrong and resumed:  # the old beginning may belong to another version: once more from zero
            part.unlink()
            _transfer(remote, part, progress, patience)
            wrong = mismatch(part, remote)
        if wrong:
            part.unlink()
            raise InputError(
                f"{remote.url}: the file that arrived is not the expected one; {wrong}",
                "try again later; if its owner has changed it on purpose, get the data yourself and set FREQD_DATA_DIR",
            )
        part.replace(target)
    except OSError as error:
        raise storage_error(error, folder) from error
    return target


def _transfer(remote: Remote, part: Path, progress: Progress, patience: Patience) -> None:
    for attempt in range(patience.attempts):
        try:
            _continue(remote, part, progress, patience.timeout)
            return
        except urllib.error.HTTPError as error:
            if error.code == 416:  # nothing is left to send: the part is whole, or useless
                return
            if error.code < 500:
                raise InputError(f"{remote.url} answers {error.code} {error.reason}", _BY_HAND) from error
            reason = f"{error.code} {error.reason}"
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            reason = str(getattr(error, "reason", None) or error)
        if attempt + 1 < patience.attempts:
            patience.pause(2.0**attempt)
    raise InputError(f"{remote.url} could not be downloaded: {reason}", _BY_HAND)


_BY_HAND = (
    "check the network, or get the file elsewhere and set FREQD_DATA_DIR to a folder that holds it "
    "(`freqd data info NAME` shows the layout)"
)


def _continue(remote: Remote, part: Path, progress: Progress, timeout: float) -> None:
    """Append what is missing to ``part``; raise if the connection ends early."""
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(remote.url, headers={"User-Agent": "freqd", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        with part.open("ab" if have else "wb") as file:
            while block := answer.read(_BLOCK):
                file.write(block)
                have += len(block)
                progress(have / total if total else 0.0, f"{remote.filename}: {have / 1e6:.1f} MB")
    if total is not None and have < total:
        raise ConnectionError(f"the connection ended after {have} of {total} bytes")
