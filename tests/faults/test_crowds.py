"""Many at once, and again and again: promotions by twenty processes, a service under them, retrainings with clean-up."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from tasks.mlops.audit import AuditTrail
from tests.faults.conftest import Victim, count, tracebacks
from tests.shell import FREQD, free_port, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1500)]
PROMOTING, PROMOTIONS, RETRAININGS = 20, 100, 10


@pytest.fixture
def two_versions(victim: Victim) -> Victim:
    for seed in ("0", "1"):
        code, out = victim.run("", None, "--set", f"seed={seed}")
        assert code == 0, out
    assert len(victim.versions()) == 2
    return victim


def test_twenty_processes_promote(two_versions: Victim) -> None:
    victim = two_versions
    before = len(AuditTrail.of(victim.workspace.root).entries())
    with ThreadPoolExecutor(PROMOTING) as pool:
        done = list(pool.map(lambda n: victim("promote", str(1 + n % 2), "--why", f"because of {n}"), range(PROMOTING)))
    said = [one.stdout + one.stderr for one in done]
    moves = [
        (entry.previous, entry.version)
        for entry in AuditTrail.of(victim.workspace.root).entries()[before:]
        if entry.what == "promote"
    ]
    broken = sum(one[1] != other[0] for one, other in itertools.pairwise(moves))
    count(
        "promotions by 20 processes at once", tried=PROMOTING, lost=broken, tracebacks=sum(map(tracebacks, said)),
        leftovers=victim.leftovers(),
    )  # fmt: skip
    assert all(one.returncode == 0 for one in done), said
    assert broken == 0, moves
    assert victim.whole()
    listed = victim("models", "show", "champion")
    assert f"{moves[-1][1]}" in listed.stdout, listed.stdout


def test_a_service_under_promotions(two_versions: Victim) -> None:
    """Every request is answered, by one version or the other, while the alias moves a hundred times."""
    victim = two_versions
    up = victim("up", *victim.ports)
    assert up.returncode == 0, up.stdout + up.stderr
    port = free_port()
    command = [FREQD, "serve", "--port", port, "--poll", "0.2", "--workdir", victim.workspace.root]
    log = (victim.folder / "serve.log").open("w")
    serving = subprocess.Popen(
        [str(word) for word in command], cwd=victim.folder, env=victim.environment, stdout=log, stderr=log
    )
    answers: Counter[str] = Counter()
    stop = threading.Event()

    def ask() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            url = f"http://127.0.0.1:{port}/recommend/u{number % 200}?k=5"
            try:
                with urllib.request.urlopen(url, timeout=10) as answer:
                    answers[str(json.loads(answer.read())["version"])] += 1
            except urllib.error.HTTPError as error:
                answers[f"HTTP {error.code}"] += 1
            except OSError as error:
                answers[type(error).__name__] += 1
            time.sleep(0.005)

    try:
        wait_for(lambda: _healthy(port), 60)
        askers = [threading.Thread(target=ask) for _ in range(4)]
        for asker in askers:
            asker.start()
        moved = _promote_often(victim, PROMOTIONS)
        time.sleep(2.0)
        stop.set()
        for asker in askers:
            asker.join()
    finally:
        stop.set()
        serving.send_signal(signal.SIGTERM)
        code = serving.wait(20)
        log.close()
    text = (victim.folder / "serve.log").read_text()
    wrong = sum(number for answer, number in answers.items() if answer not in ("1", "2"))
    count(
        "promotions under a service", tried=moved, lost=wrong, tracebacks=tracebacks(text),
        HTTP_500=sum(number for answer, number in answers.items() if answer.startswith("HTTP 5")),
    )  # fmt: skip
    assert moved == PROMOTIONS
    assert wrong == 0, answers
    assert {"1", "2"} <= set(answers), answers
    assert tracebacks(text) == 0, text
    assert code in (0, 143, -signal.SIGTERM), text
    down = victim("down")
    assert down.returncode == 0, down.stderr
    assert victim.leftovers() == 0


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _promote_often(victim: Victim, times: int) -> int:
    """By freqd's own function, in one process: a hundred commands would take minutes to start."""
    script = (
        "import sys; from pathlib import Path; from tasks.runtime.workspace import Workspace; from tasks.runtime.environment import embed\n"
        "w = Workspace(Path(sys.argv[1])); embed(w, flows=False)\n"
        "from tasks.mlops import registry; from tasks.mlops.audit import Decision; import time\n"
        "name = registry.names()[0]\n"
        "for n in range(int(sys.argv[2])):\n"
        "    registry.promote(w, name, str(1 + n % 2), Decision('somebody', 'again', {})); time.sleep(0.1)\n"
        "print('moved', n + 1)\n"
    )
    python = Path(FREQD).parent / "python"
    done = subprocess.run(
        [python, "-c", script, str(victim.workspace.root), str(times)], env=victim.environment, cwd=victim.folder,
        capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stdout.split("moved ")[1])


def test_retrainings_with_clean_up(victim: Victim) -> None:
    """Ten weeks: what a champion needs stays, nothing else grows."""
    frame = pl.read_csv(victim.folder / "purchases.csv")
    sizes = []
    for week in range(RETRAININGS):
        share = 0.6 + 0.04 * (week + 1)
        frame.head(int(share * frame.height)).write_csv(victim.folder / "purchases.csv")
        code, out = victim.run()
        assert code == 0, out
        _grow_old(victim.workspace.root)
        done = victim("clean", "--keep", "1", "--older-than", "1d", "--delete")
        out += done.stdout + done.stderr
        recommended = victim("recommend", "--out", str(victim.folder / f"week{week}.parquet"))
        lost = recommended.returncode != 0 or victim("audit").returncode != 0
        count("retrainings with clean-up", tried=1, lost=int(lost), tracebacks=tracebacks(out))
        assert done.returncode == 0, out
        assert not lost, recommended.stdout + recommended.stderr
        assert tracebacks(out) == 0, out
        runs = len(list(victim.workspace.runs.glob("*/summary.json")))
        versions = {version for version, _ in victim.versions()}
        assert runs <= len(versions) + 1
        sizes.append(sum(path.stat().st_size for path in victim.workspace.store.root.rglob("*") if path.is_file()))
    code, out = victim.run()  # nothing new: all from the store
    assert code == 0, out
    left = list(victim.workspace.store.root.rglob(".*.old"))
    count(
        "retrainings with clean-up", duplicates=victim.duplicates(), leftovers=victim.leftovers() + len(left),
    )  # fmt: skip
    assert victim.duplicates() == 0
    assert victim.leftovers() + len(left) == 0
    registered = len(victim.versions())
    assert sizes[-1] < sizes[0] * (registered + 1.5), (sizes, registered)


def _grow_old(root: Path, days: float = 9.0) -> None:
    then = time.time() - 86_400 * days
    for path in root.rglob("*"):
        if path.name not in ("prefect.db", "mlflow.db"):
            os.utime(path, (min(then, path.stat().st_atime), min(then, path.stat().st_mtime)))


def test_a_copy_of_a_working_directory_is_whole(two_versions: Victim) -> None:
    """A backup taken by cp works where it is laid."""
    victim = two_versions
    other = victim.folder / "restored"
    shutil.copytree(victim.workspace.root, other)
    shutil.rmtree(victim.workspace.root)
    os.rename(other, victim.workspace.root)
    code, out = victim.run()
    count("a restored copy", tried=1, lost=int(code != 0), tracebacks=tracebacks(out), duplicates=victim.duplicates())
    assert code == 0, out
    assert victim.duplicates() == 0
