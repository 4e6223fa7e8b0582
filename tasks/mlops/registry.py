"""The model registry: what is in it, and the one way by which a version becomes champion.

MLflow's alias call takes no expected value, so the last writer wins. Here every move holds a lock of the working
directory and reads the champion again right before it switches; a decision that rests on another champion is refused.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import mlflow
from filelock import FileLock
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode

from freqd.data.interactions import Split
from freqd.embeddings import TrainedModel
from freqd.errors import FreqdError, InputError
from freqd.serve.recommender import Recommender
from freqd.storage.files import folder_digest
from freqd.storage.store import Store
from tasks.mlops import tracking
from tasks.mlops.audit import ANY, FAIL, PROMOTE, REFUSE, ROLLBACK, AuditTrail, Change, Decision, readable
from tasks.runtime.workspace import Workspace

CHAMPION, CHALLENGER = "champion", "challenger"
ABSENT = {ErrorCode.Name(RESOURCE_DOES_NOT_EXIST), ErrorCode.Name(INVALID_PARAMETER_VALUE)}
DIGEST = "freqd.bundle_digest"
"""Tag of a version: the digest of its files."""
REFIT = "freqd.refit_digest"
"""Tag of a version whose student was trained on all interactions; ``freqd.student_digest`` is that of its judged twin."""
GATE = "gate of run "
"""Begins the name of who decided, where it was a run."""
SHOWN = ("ndcg_at_10", "recall_at_10", "gap_closed")
"""Tags of a version that hold its headline numbers."""


class BrokenModelError(FreqdError):
    """A registered version that cannot answer."""


class ChampionMovedError(FreqdError):
    """The champion is no longer the one that a decision was made against; decide again."""


@dataclass(frozen=True)
class Move:
    """What a promotion or a roll-back did; ``changed`` is False if the version was champion already."""

    model: str
    version: str
    previous: str | None
    changed: bool


def trail(workspace: Workspace) -> AuditTrail:
    """The audit trail of a working directory."""
    return AuditTrail.of(workspace.root)


def champion_of(model: str) -> ModelVersion | None:
    """The version with alias ``champion``, or None."""
    try:
        return tracking.client().get_model_version_by_alias(model, CHAMPION)
    except MlflowException as error:
        if error.error_code in ABSENT:
            return None
        raise


def aliases_of(model: str, version: str) -> list[str]:
    """The aliases that a version has at this moment."""
    return sorted(tracking.client().get_model_version(model, version).aliases)


def names() -> list[str]:
    """All registered models."""
    return sorted(str(model.name) for model in tracking.client().search_registered_models())


def resolve(name: str | None) -> str:
    """The registered model ``name``, or the only one.

    Raises:
        InputError: there is no such model, or it must be named.
    """
    known = names()
    if not known:
        raise InputError("no model is registered", "run `freqd run` first, or name the --workdir it used")
    if name is None and len(known) == 1:
        return known[0]
    if name in known:
        return str(name)
    problem = "more than one model is registered" if name is None else f"there is no registered model {name!r}"
    raise InputError(problem, f"name one with --name; models are: {', '.join(known)}")


def entries(model: str) -> list[ModelVersion]:
    """All versions, the latest first, in one call and without their aliases."""
    found = tracking.client().search_model_versions(f"name = '{quoted(model)}'", max_results=1000)
    return sorted(found, key=lambda v: -int(v.version))


def versions(model: str) -> list[ModelVersion]:
    """All versions with their aliases, the latest first."""
    return [find(model, str(entry.version)) for entry in entries(model)]


def find(model: str, version: str) -> ModelVersion:
    """A version by its number or by one of its aliases.

    Raises:
        InputError: there is none.
    """
    client = tracking.client()
    try:
        if version.isdecimal():
            return client.get_model_version(model, version)
        return client.get_model_version_by_alias(model, version)
    except MlflowException as error:
        if error.error_code not in ABSENT:
            raise
        known = client.search_model_versions(f"name = '{quoted(model)}'", max_results=1000)
        numbers = ", ".join(sorted((str(v.version) for v in known), key=int)[-20:]) or "none"
        raise InputError(
            f"model {model} has no version {version!r}", f"versions are: {numbers}; see `freqd models list`"
        ) from error


def load(model: str, version: str) -> Recommender:
    """Fetch, open and check one version; nothing of it stays on the disk.

    Raises:
        BrokenModelError: it cannot answer, and why.
    """
    with tempfile.TemporaryDirectory(prefix="freqd-model-") as folder:
        try:
            path = mlflow.artifacts.download_artifacts(f"models:/{model}/{version}", dst_path=folder)
            files = Recommender.find(Path(path))
            _check_digest(model, version, folder_digest(files))
            recommender = Recommender.read(files)
            recommender.check()
        except Exception as error:  # whatever is wrong with a file of a version must not stop who serves the other
            raise BrokenModelError(f"version {version} of {model}: {type(error).__name__}: {error}") from error
    return recommender


def _check_digest(model: str, version: str, found: str) -> None:
    """See that a version's files are those that were registered; versions of earlier freqd have no digest to compare with.

    Raises:
        ValueError: they are not.
    """
    wanted = tracking.client().get_model_version(model, version).tags.get(DIGEST)
    if wanted is not None and found != wanted:
        raise ValueError(f"its files have the digest {found[:12]}, registered was {wanted[:12]}: they were changed")


def load_champion(model: str, version: str) -> Recommender:
    """The version that has the alias ``champion``, to be held against something new.

    Raises:
        InputError: it cannot answer.
    """
    try:
        return load(model, version)
    except BrokenModelError as error:
        raise InputError(
            f"the champion is broken: {error}",
            f"give the alias {CHAMPION!r} to a version that is whole: `freqd models list`, `freqd promote VERSION --why ...`",
        ) from error


def split_of(store: Store, version: ModelVersion) -> Split:
    """The data that a version was made of, from its run's artifacts.

    Raises:
        DamagedArtifactError: they are not in the store.
    """
    return store.open(store.ref(Split.kind, version.tags.get("freqd.data_digest", "")), Split)


def judged_twin(store: Store, version: ModelVersion) -> Recommender:
    """A version as it was judged, to be held against what is new.

    The student that is served may have been trained on all interactions. That one has seen what others are judged on, so here
    its twin of the train split stands for it, which the store keeps.

    Raises:
        DamagedArtifactError: the store has lost the twin.
        InputError: a version without a refit cannot answer.
    """
    if REFIT not in version.tags:
        return load_champion(str(version.name), str(version.version))
    student = store.ref(TrainedModel.kind, version.tags.get("freqd.student_digest", ""))
    return Recommender.of(store.open(student, TrainedModel).features, split_of(store, version))


def promote(workspace: Workspace, model: str, version: str, decision: Decision, *, what: str = PROMOTE) -> Move:
    """Make a version the champion: locked, checked against the present champion, written down, then switched.

    The entry in the trail comes before the switch, since a move without an entry would be worse than an entry
    without a move; a switch that fails leaves a second entry that says so.

    Args:
        workspace: holds the lock and the trail.
        model: name of the registered model.
        version: the version, which exists.
        decision: who decided, why, and against which champion.
        what: PROMOTE or ROLLBACK.

    Raises:
        ChampionMovedError: the champion is another one than ``decision.against``.
        InputError: the version does not exist.
    """
    with lock(workspace, model):
        entry = find(model, version)
        present = champion_of(model)
        previous = None if present is None else str(present.version)
        if previous == str(entry.version):
            return Move(model, previous, previous, changed=False)
        _check_against(decision, model, previous)
        decision = _readable(decision)
        change = Change(model, str(entry.version), previous)
        if not _noted(workspace, what, change, decision.who):
            trail(workspace).append(what, change, decision)
        try:
            for label, value in (
                ("champion_by", decision.who),
                ("champion_since", datetime.now(UTC).isoformat(timespec="seconds")),
                ("champion_after", previous or "none"),
                ("champion_why", decision.why),
            ):
                tracking.client().set_model_version_tag(model, change.version, f"freqd.{label}", value[:4000])
            tracking.client().set_registered_model_alias(model, CHAMPION, change.version)
        except BaseException as error:
            refused = Decision(decision.who, f"the registry refused: {error}"[:500], {})
            trail(workspace).append(FAIL, change, refused)
            raise
    return Move(model, change.version, previous, changed=True)


def _check_against(decision: Decision, model: str, previous: str | None) -> None:
    if decision.against not in (ANY, previous):
        raise ChampionMovedError(
            f"the champion of {model} is version {previous or 'none'}, "
            f"the decision was made against {decision.against or 'none'}"
        )


def _readable(decision: Decision) -> Decision:
    return replace(decision, who=readable(decision.who), why=readable(decision.why))


def _noted(workspace: Workspace, what: str, change: Change, who: str) -> bool:
    """Whether a gate has written this very move down already, and was killed before the switch.

    Another move that was written down and is not there is noted as failed first, so that the trail has no champion that
    never was one.
    """
    last = trail(workspace).last_move(change.model)
    if last is None or last.version == change.previous:
        return False
    if (last.what, last.change) == (what, change) and last.who.startswith(GATE) and who.startswith(GATE):
        return True
    why = "not the champion: the promotion was interrupted before the switch, or the alias was moved without freqd"
    trail(workspace).append(FAIL, last.change, Decision(who, why, {}))
    return False


def refuse(workspace: Workspace, model: str, version: str, decision: Decision) -> None:
    """Write down that a version was not made champion, and why. The arguments are those of ``promote``.

    Raises:
        ChampionMovedError: the champion is another one than ``decision.against``.
    """
    with lock(workspace, model):
        present = champion_of(model)
        previous = None if present is None else str(present.version)
        _check_against(decision, model, previous)
        trail(workspace).append(REFUSE, Change(model, version, previous), _readable(decision))


def rollback(workspace: Workspace, model: str, *, who: str, why: str) -> Move:
    """Make the champion's predecessor the champion again, as the audit trail knows it.

    Doing it again goes one champion further back.

    Raises:
        InputError: there is no champion, or no predecessor, or it was deleted.
    """
    with lock(workspace, model):
        present = champion_of(model)
        if present is None:
            raise InputError(
                f"model {model} has no champion", "promote a version with `freqd promote VERSION --why ...`"
            )
        champion = str(present.version)
        earlier = find(model, trail(workspace).before(model, champion))
        decision = Decision(who, why, evidence_of(earlier), against=champion)
        return promote(workspace, model, str(earlier.version), decision, what=ROLLBACK)


def lock(workspace: Workspace, model: str) -> FileLock:
    """The lock of all moves of a model in this working directory; the process that holds it may take it again."""
    folder = workspace.root / "store" / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"promotion-{model}.lock", is_singleton=True)


def evidence_of(version: ModelVersion) -> dict[str, str]:
    """What the registry says of a version: its numbers, its data, and what the gate thought of it."""
    labels = (*SHOWN, "data_digest", "student_digest", "refit_digest", "run", "verdict", "reasons")
    return {label: version.tags[f"freqd.{label}"] for label in labels if f"freqd.{label}" in version.tags}


def quoted(name: str) -> str:
    """A name within quotes of MLflow's filters."""
    return name.replace("'", "''")
