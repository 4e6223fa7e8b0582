"""Faults of the machine in the user's words, each with a remedy that fits."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from freqd.errors import InputError
from tasks.runtime.errors import translate
from tasks.runtime.workspace import Workspace


@pytest.mark.parametrize(
    ("error", "problem", "remedy"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "x"), "space", "free some space"),
        (OSError(errno.EACCES, "Permission denied", "x"), "x", "may write"),
        (OSError(errno.EIO, "Input/output error", "x"), "the disk reports an error", "dmesg"),
        (OSError(errno.EMFILE, "Too many open files"), "too many files", "ulimit -n"),
        (sqlite3.OperationalError("database or disk is full"), "space", "free some space"),
        (sqlite3.DatabaseError("file is not a database"), "is damaged", "backup"),
        (sqlite3.DatabaseError("database disk image is malformed"), "is damaged", "backup"),
        (sqlite3.OperationalError("unable to open database file"), "cannot be opened", "folder"),
        (MemoryError(), "not enough memory", "ulimit -v"),
        (RuntimeError("can't start new thread"), "not enough memory", "ulimit"),
    ],
)
def test_what_a_user_can_mend(error: Exception, problem: str, remedy: str) -> None:
    wrapped = RuntimeError("something of a library")
    wrapped.__cause__ = error
    for seen in (error, wrapped):
        found = translate(seen)
        assert found is not None
        assert problem in found.problem.lower() or problem in found.problem
        assert remedy in found.remedy
        if "space" not in problem:
            assert "free some space" not in found.remedy, "only a full disk needs space"


def test_a_fault_of_the_program_stays_one() -> None:
    assert translate(KeyError("x")) is None
    assert translate(OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))) is None


def test_a_loop_of_causes_ends() -> None:
    one, other = ValueError("1"), ValueError("2")
    one.__cause__, other.__context__ = other, one
    assert translate(one) is None


# -- a new working directory ----------------------------------------------------------------------------------------


def refuse(workspace: Workspace, *made: str) -> None:
    with pytest.raises(InputError, match="wrong"), workspace.opened():  # noqa: PT012 - the input is found to be wrong within
        for path in made:
            (workspace.root / path).parent.mkdir(parents=True, exist_ok=True)
            (workspace.root / path).write_text("{}")
        raise InputError("wrong", "mend it")


def test_wrong_input_leaves_no_new_folder_and_never_touches_a_parent(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    refuse(Workspace(tmp_path / "mine" / "deep" / "work"), "salt")
    assert not (tmp_path / "mine" / "deep" / "work").exists()
    assert (tmp_path / "mine" / "file").read_text() == "mine"
    refuse(Workspace(tmp_path / "mine"))
    assert (tmp_path / "mine" / "file").read_text() == "mine"


@pytest.mark.parametrize("made", ["store/index/ingest/key.json", "store/artifacts/split/digest", "runs/one/summary.json", "stack/token"])  # fmt: skip
def test_what_was_finished_stays(tmp_path: Path, made: str) -> None:
    refuse(Workspace(tmp_path / "work"), made)
    assert (tmp_path / "work" / made).exists()


def test_what_another_process_works_in_stays(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "work")
    with pytest.raises(InputError, match="outer"), workspace.opened():  # noqa: PT012 - as above
        inner = Workspace(tmp_path / "work")
        with pytest.raises(InputError, match="inner"), inner.opened():
            raise InputError("inner", "mend it")
        assert workspace.root.is_dir()
        raise InputError("outer", "mend it")
    assert not workspace.root.exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError), Workspace(tmp_path / "file" / "work").opened():
        raise AssertionError
    assert (tmp_path / "file").read_text() == ""
