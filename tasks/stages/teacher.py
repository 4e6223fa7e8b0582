"""Stage 3: the teacher."""

from __future__ import annotations

from typing import Annotated

from freqd.config import StartConfig, TeacherConfig
from freqd.data.interactions import Split
from freqd.storage.store import ArtifactRef
from freqd.teachers.training import START, source_digest, train_teacher
from tasks import plugins
from tasks.earlier_run import EarlierModel
from tasks.run_context import RunContext, StageOutcome
from tasks.runtime.page import Shown
from tasks.stage import Result, Stage, stage
from tasks.stage_entry import Only, Without


class Taught(StageOutcome):
    """The teacher."""

    @property
    def teacher(self) -> ArtifactRef:
        """Its model."""
        return self.refs["teacher"]


def source(
    run: RunContext,
    split: ArtifactRef,
    config: TeacherConfig,
    earlier: EarlierModel | None = None,
    start: StartConfig | None = None,
) -> dict[str, str | None]:
    """The content of a file of features stands for its name, and the source of a plugin."""
    return {"source_digest": source_digest(config), **plugins.sources(plugins.of_teacher(config))}


@stage("teacher", Taught, uses=["seed", "device"], source=source)
def teacher(
    at: Stage,
    split: ArtifactRef,
    config: Annotated[TeacherConfig, Without("features", "lists")],
    earlier: EarlierModel | None = None,
    start: Annotated[StartConfig | None, Only("sweeps", "tolerance")] = None,
) -> Result:
    """Train the teacher, or bring it in; search its size and regularisation on validation, or carry an earlier one on."""
    present = at.open(split, Split)
    previous = None if earlier is None else earlier.seen_from(present, at.store)
    model = train_teacher(
        present,
        config,
        at.environment(),
        previous,
        start or START,
    )
    trials = model.info.get("trials") or []
    search = Shown(key="teacher-search", content=trials, description="Teachers tried, judged on validation")
    ndcg = model.info["valid_ndcg_at_10"]
    size = f" of dimension {model.features.dim}" if model.full is None else ""
    headline = f"{config.kind}{size}: validation NDCG@10 {ndcg:.4f}"
    if earlier is not None:
        headline += f" ({model.info['start']['way']} from run {earlier.run})"
    elif len(trials) > 1:
        headline += f" (best of {len(trials)})"
    metrics = {"valid_ndcg_at_10": ndcg, "dim": model.features.dim, "parameters": model.scorer.n_parameters}
    lines = [f"warning: {text}" for text in model.info.get("warnings", [])] + model.info.get("notes", [])
    if "reason" in model.info:
        lines.append(model.info["reason"])
    if model.full is not None:
        lines.append(
            f"it is no pair of tables: spectrum, start and objectives on features take a table of {model.features.dim} numbers that "
            f"comes near it (validation NDCG@10 {model.info['table_valid_ndcg_at_10']:.4f})"
        )
    for side, found in (model.info.get("brought") or {}).items():
        lines.append(
            f"{side}: {found['matched']:,} with features, {found['missing']:,} without, which score 0 everywhere"
        )
    return Result({"teacher": model}, headline, metrics, model.history, [search] if trials else [], lines)
