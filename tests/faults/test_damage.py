"""Files that were damaged: noticed, and made again or named; never used."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import Victim, count, tracebacks

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1500)]
Damage = Callable[[Victim], None]


def data_files(victim: Victim) -> list[Path]:
    found = [p for p in (victim.workspace.store.root / "artifacts").glob("*/*/*") if p.name != "manifest.json"]
    assert found
    return found


def each(paths: list[Path], what: Callable[[Path], object]) -> None:
    assert paths
    for path in paths:
        what(path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def garbage(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(3000))


def store(pattern: str, what: Callable[[Path], object]) -> Damage:
    return lambda victim: each(list(victim.workspace.store.root.glob(pattern)), what)


REMADE: dict[str, Damage] = {
    "artifacts cut in half": lambda victim: each(data_files(victim), cut),
    "a bit of each artifact flipped": lambda victim: each(data_files(victim), flip),
    "artifacts emptied": lambda victim: each(data_files(victim), lambda path: path.write_bytes(b"")),
    "artifacts full of noise": lambda victim: each(data_files(victim), garbage),
    "files of artifacts gone": lambda victim: each(data_files(victim), Path.unlink),
    "folders of artifacts gone": store("artifacts/*/*", shutil.rmtree),
    "manifests of noise": store("artifacts/*/*/manifest.json", garbage),
    "manifests gone": store("artifacts/*/*/manifest.json", Path.unlink),
    "index of noise": store("index/*/*.json", garbage),
    "index cut in half": store("index/*/*.json", cut),
}
"""What can be computed again."""


def test_damage_is_made_good(victim: Victim) -> None:
    code, out = victim.run()
    assert code == 0, out
    expected = victim.metrics()
    versions = victim.versions()
    for what, damage in REMADE.items():
        damage(victim)
        code, out = victim.run()
        assert code == 0, (what, out)
        lost = victim.metrics() != expected
        count("damage", tried=1, lost=int(lost), tracebacks=tracebacks(out), duplicates=victim.duplicates())
        assert not lost, what
        assert tracebacks(out) == 0, (what, out)
        assert victim.duplicates() == 0, (what, victim.versions())
        assert victim.versions() == versions, what
    assert victim.leftovers() == 0


def test_damage_that_cannot_be_made_good_is_named(victim: Victim) -> None:
    """Each names its file and a remedy, without a traceback; once it is put right all goes on."""
    code, out = victim.run()
    assert code == 0, out
    root = victim.workspace.root
    ids = next((root / "ids").glob("*/items.parquet"))
    bundle = next((root / "mlflow" / "artifacts").rglob("features.safetensors"))
    cases: list[tuple[str, Path, Callable[[Path], object], tuple[str, ...]]] = [
        ("ids", ids, garbage, ("run", "--config", "small.toml", "--set", "seed=5")),
        ("database of MLflow", root / "mlflow" / "mlflow.db", garbage, ("models", "list")),
        ("database of Prefect", root / "prefect" / "prefect.db", garbage, ("run", "--config", "small.toml")),
        ("registered model", bundle, flip, ("recommend", "--out", "recommendations.parquet")),
        ("end of the trail", root / "audit.jsonl", lambda path: path.write_text(path.read_text()[:-20] + "\n"), ("audit",)),
        ("line of the trail", root / "audit.jsonl", _changed, ("audit",)),
    ]  # fmt: skip
    for what, path, damage, command in cases:
        whole = path.read_bytes()
        damage(path)
        done = victim(*command)
        out = done.stdout + done.stderr
        path.write_bytes(whole)
        for leftover in path.parent.glob(f"{path.name}-*"):  # sqlite's journal of the broken file
            leftover.unlink()
        count("damage", tried=1, lost=int(done.returncode == 0), tracebacks=tracebacks(out))
        assert done.returncode != 0, (what, out)
        assert tracebacks(out) == 0, (what, out)
        assert "remedy" in out or "tampered" in out or "changed" in out, (what, out)
        assert victim.leftovers() == 0, what
    code, out = victim.run()
    assert code == 0, out
    assert victim("audit").returncode == 0
    assert victim.duplicates() == 0


def _changed(path: Path) -> None:
    lines = path.read_text().splitlines()
    entry = json.loads(lines[0])
    entry["why"] = "for no reason"
    path.write_text("\n".join([json.dumps(entry), *lines[1:]]) + "\n")
