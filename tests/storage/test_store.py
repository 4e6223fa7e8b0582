"""Artifacts are whole or absent, and damage is noticed."""

from __future__ import annotations

import errno
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freqd.embeddings import Embeddings, TrainedModel
from freqd.errors import DamagedArtifactError, InputError
from freqd.storage.store import ArtifactRef, Facts, Store


def table(seed: int = 0) -> Embeddings:
    rng = np.random.default_rng(seed)
    return Embeddings(rng.random((4, 3), np.float32), rng.random((5, 3), np.float32))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_round_trip_keeps_every_bit(store: Store) -> None:
    model = TrainedModel(
        table(), [{"epoch": 1, "valid_ndcg_at_10": 0.5}], {"kind": "als"}, {"raw_users": table().users}
    )
    found = store.open(store.save(model, {"seed": 3}), TrainedModel)
    np.testing.assert_array_equal(found.features.users, model.features.users)
    np.testing.assert_array_equal(found.features.items, model.features.items)
    np.testing.assert_array_equal(found.extra["raw_users"], model.extra["raw_users"])
    assert found.history == model.history
    assert found.info == model.info


def test_same_content_has_one_address_and_another_content_another(store: Store) -> None:
    assert store.save(table(0)) == store.save(table(0))
    assert store.save(table(0)) != store.save(table(1))


def test_models_of_the_same_numbers_keep_what_they_are(store: Store) -> None:
    earlier = TrainedModel(table(), info={"method": "distill", "best_epoch": 20, "seconds": 1.0})
    student = TrainedModel(
        table(), info={"method": "distill", "best_epoch": 0, "start": {"way": "previous"}, "seconds": 2.0}
    )
    again = TrainedModel(table(), info={**student.info, "seconds": 3.0})
    refs = [store.save(model) for model in (earlier, student, again)]
    assert store.open(refs[1], TrainedModel).info["best_epoch"] == 0
    assert refs[0] != refs[1]
    assert refs[1] == refs[2], "times make no other model"


def test_the_manifest_is_not_part_of_the_digest(store: Store) -> None:
    first = store.save(table(), {"run": "a"})
    assert store.manifest(first).model_extra == {"run": "a"}
    assert store.save(table(), {"run": "b"}) == first


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "add", "manifest"])
def test_damage_is_noticed(store: Store, damage: str) -> None:
    ref = store.save(table())
    file = Path(ref.uri) / "features.safetensors"
    content = file.read_bytes()
    if damage == "flip":
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "truncate":
        file.write_bytes(content[:-4])
    elif damage == "manifest":
        (Path(ref.uri) / "manifest.json").unlink()
    elif damage == "delete":
        file.unlink()
    else:
        (Path(ref.uri) / "more.txt").write_text("")
    with pytest.raises(DamagedArtifactError, match=ref.digest[:12]):
        store.open(ref, Embeddings)


def test_saving_again_mends_a_damaged_artifact(store: Store) -> None:
    ref = store.save(table())
    (Path(ref.uri) / "features.safetensors").write_bytes(b"")
    assert store.save(table()) == ref
    store.verify(ref)


def test_records_are_verified_but_do_not_shape_the_address(store: Store) -> None:
    first = store.save(Facts({"a": 1}, {"seconds": 1.5}))
    assert store.save(Facts({"a": 1}, {"seconds": 2.5})) == first
    assert store.open(first, Facts).measured == {"seconds": 1.5}, "the whole one that was there is kept"
    assert store.save(Facts({"a": 2}, {"seconds": 1.5})) != first
    (Path(first.uri) / "measured.json").write_text("{}")
    with pytest.raises(DamagedArtifactError):
        store.verify(first)


class Failing:
    kind = "failing"
    records: frozenset[str] = frozenset()

    def __init__(self, error: Exception) -> None:
        self.error = error

    def write(self, folder: Path) -> None:
        (folder / "half.bin").write_bytes(b"half")
        raise self.error


def test_a_failed_write_leaves_nothing(store: Store) -> None:
    with pytest.raises(ZeroDivisionError):
        store.save(Failing(ZeroDivisionError()))
    assert [p for p in store.root.rglob("*") if p.is_file()] == []


def test_a_full_disk_is_the_users_to_mend(store: Store) -> None:
    with pytest.raises(InputError, match="No space left") as caught:
        store.save(Failing(OSError(errno.ENOSPC, "No space left on device")))
    assert "--workdir" in caught.value.remedy
    assert [p for p in store.root.rglob("*") if p.is_file()] == []


def test_index_recalls_what_was_recorded_and_forgets_what_is_unreadable(store: Store) -> None:
    assert store.recall("teacher", "k") is None
    store.record("teacher", "k", {"refs": {}, "seconds": 1.5})
    assert store.recall("teacher", "k") == {"refs": {}, "seconds": 1.5}
    next(store.root.rglob("k.json")).write_text("{")
    assert store.recall("teacher", "k") is None


def test_a_missing_artifact_is_damaged(store: Store, tmp_path: Path) -> None:
    with pytest.raises(DamagedArtifactError):
        store.verify(ArtifactRef(kind="features", digest="0" * 64, uri=str(tmp_path / "nowhere")))


def test_facts_round_trip(store: Store) -> None:
    facts = Facts({"a": [1, None, 0.5], "b": {"c": "d"}})
    assert store.open(store.save(facts), Facts) == facts


def test_feature_table_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="float32"):
        Embeddings(np.zeros((2, 2)), np.zeros((2, 2), np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="3 columns but items have 2"):
        Embeddings(np.zeros((2, 3), np.float32), np.zeros((2, 2), np.float32))


def _save(root: str, barrier: Any, results: Any) -> None:
    store, value = Store(Path(root)), {"a": list(range(50))}
    barrier.wait()
    for _ in range(30):
        try:
            store.open(store.save(Facts(value)), Facts)
        except Exception as error:
            results.put(repr(error))
    results.put("done")


def test_many_processes_may_save_and_read_the_same_content(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_save, args=(str(tmp_path), barrier, results)) for _ in range(4)]
    for process in processes:
        process.start()
    found = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join(60)
    assert found == ["done"] * 4
    assert len(list((tmp_path / "artifacts" / "facts").iterdir())) == 1, "nothing is left over"


def test_a_damaged_artifact_is_moved_aside_and_gone(store: Store) -> None:
    ref = store.save(Facts({"a": 1}))
    (Path(ref.uri) / "facts.json").write_text("{}")
    assert store.save(Facts({"a": 1})) == ref
    assert store.open(ref, Facts).values == {"a": 1}
    assert [path.name for path in Path(ref.uri).parent.iterdir()] == [ref.digest]
