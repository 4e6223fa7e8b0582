"""The command line as a user runs it: in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil
import pytest

import freqd
from flows.cli import main
from freqd.pseudonym import pseudonym
from tests.shell import FREQD, environment, freqd_command

SMALL = [
    "--set", "data.split=random", "--set", "teacher.kind=als", "--set", "teacher.factors=8", "--set", "teacher.regularization=1.0", "--set", "teacher.alpha=10.0",
    "--set", "teacher.iterations=2", "--set", "distill.dim=2", "--set", "distill.epochs=1", "--set", "baselines.epochs=1",
    "--set", "baselines.models=bpr",
    "--set", "baselines.weight_decay=1e-5", "--set", "spectral.bands=2", "--set", "evaluate.bootstrap_samples=100",
]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("run purchases.csv", "`freqd run` does not know what to do with 'purchases.csv'\n  remedy: data are named with --data; see `freqd run --help`"),
        ("serve model.bin", "'model.bin'\n  remedy: see `freqd serve --help`"),
        ("backfill 2020-01-01", "`freqd backfill` needs TO\n  remedy: TO: No date is later"),
        ("backfill soon 2020-01-01", 'unable to convert "soon" into date.\n  remedy: FROM: The first date, as 2026-03-31.'),
        ("promote 3", "`freqd promote` needs --why\n  remedy: --why: The reason"),
        ("serve --port", "--port needs a value"),
        ("serve --port many", "remedy: --port: Port to listen on"),
        ("models compare 1", "`freqd models compare` needs B"),
        ("cadence --windws 3", "Did you mean --windows?\n  remedy: see `freqd cadence --help`"),
        ("modles list", 'Did you mean "models"?'),
    ],
)  # fmt: skip
def test_a_line_that_fits_no_command_says_what_does(
    words: str, named: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["freqd", *words.split()])
    assert main.command_line() == 2
    assert named in capsys.readouterr().err


def test_help_names_every_command_and_is_quick() -> None:
    started = time.perf_counter()
    found = freqd_command("--help")
    assert found.returncode == 0
    assert all(
        re.search(rf"^\W*{name}\s", found.stdout, re.MULTILINE)
        for name in ("run", "stage", "report", "data", "doctor", "settings")
    )
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, flows.cli.main; print([m for m in ('torch', 'prefect', 'mlflow', 'polars') if m in sys.modules])"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert loaded.stdout.strip() == "[]", "help must not wait for heavy packages"
    assert time.perf_counter() - started < 60


def test_version() -> None:
    assert freqd_command("--version").stdout.strip() == freqd.__version__


def test_settings_are_listed() -> None:
    found = freqd_command("settings", "distill")
    assert found.returncode == 0
    assert "distill.dim" in found.stdout
    assert "teacher." not in found.stdout
    assert freqd_command("settings", "distil").returncode == 2


def test_data_list_info_check(purchases: Path) -> None:
    assert "grocery" in freqd_command("data", "list").stdout
    assert "household" in freqd_command("data", "info", "grocery").stdout.lower()
    found = freqd_command("data", "check", purchases)
    assert found.returncode == 0, found.stderr
    assert "200" in found.stdout
    wrong = freqd_command("data", "info", "grocry")
    assert wrong.returncode == 2
    assert "grocery" in wrong.stderr


def test_doctor_finds_this_environment_well(tmp_path: Path) -> None:
    found = freqd_command("doctor", "--workdir", tmp_path / "work")
    assert found.returncode == 0, found.stdout
    assert "all is well" in found.stdout
    assert not (tmp_path / "work").exists()


def test_doctor_says_what_is_wrong(tmp_path: Path) -> None:
    store = tmp_path / "work" / "mlflow"
    store.mkdir(parents=True)
    (store / "mlflow.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    found = freqd_command("doctor", "--workdir", tmp_path / "work")
    assert found.returncode == 1
    assert re.search(r"WRONG\s+MLflow", found.stdout)
    assert "remedy" in found.stdout


# -- wrong input ----------------------------------------------------------------------------------------------------


def _bad(folder: Path, planted: Callable[..., pl.DataFrame]) -> dict[str, tuple[list[str | Path], str]]:
    good = planted()
    good.write_csv(folder / "good.csv")
    (folder / "empty.csv").write_bytes(b"")
    (folder / "header.csv").write_text("user,item,time\n")
    good.rename({"user": "colour", "item": "shape"}).write_csv(folder / "columns.csv")
    good.with_columns(
        rating=pl.when(pl.int_range(pl.len()) == 6).then(pl.lit("good")).otherwise(pl.lit("4"))
    ).write_csv(folder / "text.csv")
    good.with_columns(user=pl.lit("only")).write_csv(folder / "one_user.csv")
    good.with_columns(item=pl.lit("only")).write_csv(folder / "one_item.csv")
    pl.concat([good.head(1)] * 50).write_csv(folder / "same.csv")
    good.with_columns(time=pl.lit(1_600_000_000)).write_csv(folder / "now.csv")
    bad = np.ones((200, 4), np.float32)
    bad[3, 2] = np.nan
    ids = {"user_ids": np.array(sorted(good["user"].unique())), "item_ids": np.array(sorted(good["item"].unique()))}
    np.savez(folder / "nan.npz", users=bad, items=np.ones((len(ids["item_ids"]), 4), np.float32), **ids)
    return {
        "missing file": (["--data", folder / "nowhere.csv"], "nowhere.csv"),
        "empty file": (["--data", folder / "empty.csv"], "empty.csv"),
        "header only": (["--data", folder / "header.csv"], "header.csv"),
        "wrong columns": (["--data", folder / "columns.csv"], "colour"),
        "text in a number column": (["--data", folder / "text.csv", "--set", "data.min_weight=1"], "good"),
        "one user": (["--data", folder / "one_user.csv"], "one user"),
        "one item": (["--data", folder / "one_item.csv"], "one item"),
        "all duplicates": (["--data", folder / "same.csv"], "duplicate|same"),
        "no test split": (["--data", folder / "now.csv", "--set", "data.split=time"], "test split|time"),
        "as_of leaves nothing": (["--data", folder / "good.csv", "--set", "data.as_of=1999-01-01"], "1999-01-01"),
        "NaN features": (["--data", folder / "good.csv", "--set", "teacher.kind=features", "--set", f"teacher.features={folder / 'nan.npz'}"], "NaN|not finite|nan"),
        "missing features": (["--data", folder / "good.csv", "--set", "teacher.kind=features", "--set", "teacher.features=nothing.npz"], "nothing.npz"),
        "misspelt setting": (["--data", folder / "good.csv", "--set", "distil.dim=8"], "distill"),
        "misspelt option": (["--date", folder / "good.csv"], "date"),
        "unknown preset": (["--preset", "fast"], "quick"),
        "unknown data": (["--data", "grocry"], "grocery"),
        "unknown objective": (["--data", folder / "good.csv", "--set", 'distill.objectives=[{name="magic"}]'], "magic"),
    }  # fmt: skip


CASES = [
    "missing file", "empty file", "header only", "wrong columns", "text in a number column", "one user", "one item", "all duplicates",
    "no test split", "as_of leaves nothing", "NaN features", "missing features", "misspelt setting", "misspelt option", "unknown preset",
    "unknown data", "unknown objective",
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_wrong_input_is_named_and_leaves_nothing(
    case: str, tmp_path: Path, planted: Callable[..., pl.DataFrame]
) -> None:
    words, expected = _bad(tmp_path, planted)[case]
    before = set(tmp_path.iterdir())
    found = freqd_command(
        "run", *SMALL, *words, "--workdir", tmp_path / "work", "--summary", tmp_path / "summary.json", cwd=tmp_path
    )
    assert found.returncode == 2, found.stderr[-2000:]
    assert re.search(expected, found.stderr), found.stderr
    assert "Traceback" not in found.stderr
    assert len(found.stderr) < 2000
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("place", "problem"), [("folder", "folder is a folder"), ("purchases.csv/summary.json", "cannot be written")]
)
def test_a_summary_that_cannot_be_written_stops_the_run_before_it_begins(
    purchases: Path, tmp_path: Path, place: str, problem: str
) -> None:
    (tmp_path / "folder").mkdir()
    words = ("run", "--data", purchases, *SMALL, "--workdir", tmp_path / "work", "--summary", place)
    found = freqd_command(*words, cwd=tmp_path)
    assert found.returncode == 2, found.stderr
    assert f"--summary {place}" in found.stderr
    assert problem in found.stderr
    assert not (tmp_path / "work").exists()


def test_a_workdir_that_cannot_be_made_is_named(purchases: Path) -> None:
    found = freqd_command("run", "--data", purchases, "--workdir", "/proc/freqd")
    assert found.returncode == 2
    assert "/proc/freqd" in found.stderr
    assert "--workdir" in found.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_named(purchases: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True).returncode
        != 0
    ):
        pytest.skip("this machine does not allow mounting")
    try:
        found = freqd_command("run", "--data", purchases, "--workdir", disk / "work")
        assert found.returncode == 2, found.stderr
        assert "MiB are free" in found.stderr
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# -- a whole run ----------------------------------------------------------------------------------------------------


def test_run_then_report_then_stage(purchases: Path, tmp_path: Path) -> None:
    work, target = tmp_path / "work", tmp_path / "summary.json"
    words = ("run", "--data", purchases.name, *SMALL, "--workdir", work, "--summary", target, "--name", "mine")
    found = freqd_command(*words, cwd=purchases.parent)
    assert found.returncode == 0, found.stderr
    summary = json.loads(target.read_text())
    assert summary == json.loads((work / "runs" / "mine" / "summary.json").read_text())
    assert "report.html" in found.stdout
    assert f"{summary['metrics']['student']['ndcg_at_10']:.4f}".lstrip("0") in found.stdout

    shown = freqd_command("report", "mine", "--workdir", work)
    assert shown.returncode == 0
    assert "report.html" in shown.stdout
    assert freqd_command("report", "yours", "--workdir", work).returncode == 2

    # Its data were named relative to another folder than this one.
    again = freqd_command("stage", "distill", "--from", "last", "--workdir", work)
    assert again.returncode == 0, again.stderr
    assert "the same result as before" in again.stdout
    wrong = freqd_command("stage", "distil", "--from", "mine", "--workdir", work)
    assert wrong.returncode == 2
    assert "distill" in wrong.stderr


def test_own_parts_are_taken_as_they_are(tmp_path: Path, planted: Callable[..., pl.DataFrame]) -> None:
    rows = planted().sample(fraction=1.0, shuffle=True, seed=1)
    cuts = {"train": rows[:3600], "valid": rows[3600:4200], "test": rows[4200:]}
    for name, frame in cuts.items():
        frame.write_parquet(tmp_path / f"{name}.parquet")
    words = [word for name in cuts for word in (f"--{name}", tmp_path / f"{name}.parquet")]
    target = tmp_path / "summary.json"
    found = freqd_command("run", *words, *SMALL[2:], "--workdir", tmp_path / "work", "--summary", target)
    assert found.returncode == 0, found.stderr
    data = json.loads(target.read_text())["data"]
    assert data["split"] == "given"
    assert data["parts"]["train"] == 3600


# -- killed ---------------------------------------------------------------------------------------------------------


def _start(words: list[str | Path]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [FREQD, *map(str, words)],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def test_a_run_killed_in_mid_training_goes_on_where_it_stopped(
    tmp_path: Path, planted: Callable[..., pl.DataFrame]
) -> None:
    source = tmp_path / "purchases.csv"
    planted(users=600, items=300, per_user=40).write_csv(source)
    teacher = ["--set", "teacher.kind=bpr", "--set", "teacher.epochs=60", "--set", "teacher.eval_every=2", "--set", "teacher.patience=60", "--set", "teacher.learning_rate=0.002"]  # fmt: skip

    def words(name: str) -> list[str | Path]:
        return [
            "run",
            "--data",
            source,
            *SMALL,
            *teacher,
            "--set",
            "threads=1",
            "--workdir",
            tmp_path / name,
            "--summary",
            tmp_path / f"{name}.json",
        ]

    running = _start(words("killed"))
    deadline = time.monotonic() + 120
    scratch = tmp_path / "killed" / "store" / "scratch" / "teacher"
    while not [p for p in scratch.rglob("*") if p.is_file()] and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert [p for p in scratch.rglob("*") if p.is_file()], "the run was to be killed in mid-training"
    resumed = freqd_command(*words("killed"))
    assert resumed.returncode == 0, resumed.stderr
    whole = freqd_command(*words("whole"))
    assert whole.returncode == 0, whole.stderr

    def load(name: str) -> dict[str, Any]:
        return dict(json.loads((tmp_path / f"{name}.json").read_text()))

    assert load("killed")["cached_stages"][:2] == ["ingest", "graph"]
    assert load("killed")["metrics"] == load("whole")["metrics"]
    curve = [(entry["epoch"], entry["valid_ndcg_at_10"]) for entry in load("killed")["training"]["teacher"]["history"]]
    assert curve == [
        (entry["epoch"], entry["valid_ndcg_at_10"]) for entry in load("whole")["training"]["teacher"]["history"]
    ]


def test_a_killed_run_leaves_no_process_behind(purchases: Path, tmp_path: Path) -> None:
    home = str(tmp_path / "work" / "prefect")

    def children() -> dict[int, str]:
        found = {}
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get("PREFECT_HOME") == home and process.status() != psutil.STATUS_ZOMBIE:
                    found[process.pid] = " ".join(process.cmdline())
        return found

    def within(seconds: float, happens: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + seconds
        while not happens() and time.monotonic() < deadline:
            time.sleep(0.1)
        return happens()

    running = _start(["run", "--data", purchases, *SMALL, "--workdir", tmp_path / "work"])
    server = within(90, lambda: any("tasks.runtime.prefect_server" in command for command in children().values()))
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    assert server, "the server of one run"
    assert within(30, lambda: children() == {}), children()


# -- users' ids -----------------------------------------------------------------------------------------------------


def _ids_in(path: Path) -> bool:
    """Whether a user's own id stands in a file, as text or as a value of a Parquet column."""
    if path.suffix == ".parquet":
        frame = pl.read_parquet(path).select(pl.col(pl.String))
        return any(frame[name].str.contains("secretperson").any() for name in frame.columns)
    return b"secretperson" in path.read_bytes()


def test_users_ids_are_in_no_log_report_or_page(purchases: Path, tmp_path: Path) -> None:
    source = tmp_path / "own.csv"
    pl.read_csv(purchases).with_columns(user="secretperson-" + pl.col("user")).write_csv(source)
    work = tmp_path / "work"
    found = freqd_command("run", "--data", source, *SMALL, "--workdir", work)
    assert found.returncode == 0, found.stderr
    assert "secretperson" not in found.stdout + found.stderr
    files = [path for path in work.rglob("*") if path.is_file() and _ids_in(path)]
    kept = {str(path.relative_to(work)).split("/")[0] for path in files if path.name == "users.parquet"}
    assert kept == {"store", "ids", "mlflow"}, "what a model needs to answer with"
    assert [path for path in files if path.name != "users.parquet"] == []

    asked = ("explain", "secretperson-u0001", "i0001", "--json", "--workdir", work)
    explained = freqd_command(*asked)
    assert explained.returncode == 0, explained.stderr
    assert "secretperson" not in explained.stdout
    answer = json.loads(explained.stdout)
    assert answer["user"] == pseudonym((work / "salt").read_bytes(), "secretperson-u0001")
    assert (work / "salt").stat().st_mode & 0o777 == 0o600
    shown = json.loads(freqd_command(*asked, "--show-ids").stdout)
    assert shown["user"] == "secretperson-u0001"
    hidden, own = ([n["id"] for n in a["by_user_graph"]["neighbours"]] for a in (answer, shown))
    assert hidden == [pseudonym((work / "salt").read_bytes(), name) for name in own]
    wrong = freqd_command("explain", "secretperson-x", "i0001", "--workdir", work)
    assert wrong.returncode == 2
    assert "aaaaaaaaaaaa-a0000" in wrong.stderr
    assert "secretperson" not in wrong.stderr
    for turned in (("i0001", "secretperson-u0001"), ("secretperson-u0001", "secretperson-u0001")):
        wrong = freqd_command("explain", *turned, "--workdir", work)
        assert wrong.returncode == 2
        assert "USER comes first" in wrong.stderr
        assert "secretperson" not in wrong.stderr


# -- nothing leaves the machine -------------------------------------------------------------------------------------

SPY = """
import os, socket
_real = socket.getaddrinfo
def _watch(host, *rest, **more):
    with open(os.environ["FREQD_SPY"], "a") as log:
        log.write(f"{host}\\n")
    return _real(host, *rest, **more)
socket.getaddrinfo = _watch
"""


def test_a_run_resolves_no_outside_name(purchases: Path, tmp_path: Path) -> None:
    (tmp_path / "spy").mkdir()
    (tmp_path / "spy" / "sitecustomize.py").write_text(SPY)
    log = tmp_path / "names.txt"
    found = freqd_command(
        "run", "--data", purchases, *SMALL, "--workdir", tmp_path / "work",
        PYTHONPATH=str(tmp_path / "spy"), FREQD_SPY=str(log), CI="",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    import socket

    own = {"localhost", "127.0.0.1", "::1", "None", "0.0.0.0", socket.gethostname(), socket.getfqdn()}
    assert {name.strip("b'\"") for name in log.read_text().split()} - own == set()
    assert "127.0.0.1" in log.read_text(), "the spy must have seen the embedded server"
