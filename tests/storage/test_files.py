"""Files and folders are replaced whole or not at all; digests tell them apart; an error of the disk has its remedy."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freqd.storage.files import replacing, storage_error, text_digest, write_atomic


def test_atomic_write_replaces_and_leaves_no_temporary(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b.json"
    write_atomic(target, "old")
    write_atomic(target, "new")
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


@given(st.lists(st.text()), st.lists(st.text()))
def test_digests_of_lists_of_texts_do_not_collide(a: list[str], b: list[str]) -> None:
    assert (text_digest(*a) == text_digest(*b)) == (a == b)


def test_a_reader_never_sees_a_part_of_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    write_atomic(path, "old")
    synced: list[tuple[bytes, str]] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        synced.append((Path(f"/proc/self/fd/{descriptor}").read_bytes(), path.read_text()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    with path.open() as held:
        write_atomic(path, "new")
        assert held.read() == "old", "the old file is replaced, not written over"
    assert synced == [(b"new", "old")], "on the disk before it has its name"
    assert path.read_text() == "new"


@pytest.mark.parametrize(
    ("number", "remedy", "never"),
    [
        (errno.ENOSPC, "free some space", "owns"),
        (errno.EACCES, "whether you may write", "space"),
        (errno.EROFS, "read-only", "free some"),
        (errno.ENAMETOOLONG, "shorter name", "space"),
        (errno.EISDIR, "another name", "space"),
        (errno.EIO, "dmesg", "space"),
    ],
)
def test_the_remedy_goes_with_the_reason(number: int, remedy: str, never: str) -> None:
    found = storage_error(OSError(number, os.strerror(number)), Path("/x"))
    assert remedy in found.remedy
    assert never not in found.remedy


@pytest.mark.parametrize("folder", [False, True])
def test_a_place_is_taken_at_once_or_not_at_all(folder: bool, tmp_path: Path) -> None:
    target = tmp_path / "deeper" / "target"

    def put(path: Path, name: str) -> None:
        path.mkdir() if folder else path.write_text(name)
        if folder:
            (path / name).write_text(name)

    def held() -> list[str]:
        return [p.name for p in target.iterdir()] if folder else [target.read_text()]

    for name in ("old", "new"):
        with replacing(target) as made:
            put(made, name)
        assert held() == [name]
    with pytest.raises(RuntimeError, match="in the middle"), replacing(target) as made:  # noqa: PT012 - it fails within
        put(made, "broken")
        raise RuntimeError("in the middle")
    assert held() == ["new"]
    assert list(target.parent.iterdir()) == [target]


def test_a_file_does_not_take_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "mine").write_text("mine")
    with pytest.raises(IsADirectoryError):
        write_atomic(tmp_path / "target", "new")
    assert [p.name for p in tmp_path.rglob("*")] == ["target", "mine"]


def test_a_folder_that_cannot_be_replaced_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "mine").write_text("mine")

    def full(self: Path, _: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"), replacing(target) as made:
        made.mkdir()
    assert [p.name for p in tmp_path.rglob("*")] == ["target", "mine"]
