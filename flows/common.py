"""What every flow begins with: its run in MLflow, then data, graphs and teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from prefect.client.schemas import State

from freqd import provenance
from freqd.config import DataConfig, RunConfig
from freqd.data.interactions import Split
from freqd.data.sources import labels_of, name_of
from freqd.storage.store import ArtifactRef
from tasks.mlops import tracking
from tasks.run_context import RunContext, StageOutcome, origin
from tasks.runtime import stopping
from tasks.runtime.workspace import Workspace
from tasks.stages.graphs import graph
from tasks.stages.ingest import ingest
from tasks.stages.teacher import teacher
from tasks.warm_start import Start

EXPERIMENT = "freqd"


@dataclass(frozen=True)
class Prepared:
    """What students are taught from."""

    split: ArtifactRef
    graphs: ArtifactRef
    taught: StageOutcome
    start: Start | None

    @property
    def teacher(self) -> ArtifactRef:
        """The teacher itself."""
        return self.taught.refs["teacher"]


@contextmanager
def open_run(
    workspace: Workspace,
    name: str,
    config: RunConfig,
    *,
    params: Mapping[str, Any],
    tags: Mapping[str, str] | None = None,
    force: tuple[str, ...] = (),
) -> Iterator[RunContext]:
    """The MLflow run under which all stages are kept; closed as finished, or as failed if the block raises.

    Args:
        workspace: the working directory.
        name: of the run.
        config: all settings.
        params: what MLflow shows as the run's parameters.
        tags: further tags.
        force: stages that are computed even if their result is at hand.
    """
    experiment_id = tracking.experiment(workspace, EXPERIMENT)
    own = {"freqd.version": provenance.versions().get("freqd", ""), **origin(config), **(tags or {})}
    run_id = tracking.start_parent(experiment_id, name, {k: v for k, v in own.items() if v})
    tracking.log(run_id, params=params)
    context = RunContext(
        workdir=str(workspace.root),
        run_name=name,
        mlflow_run_id=run_id,
        mlflow_experiment_id=experiment_id,
        seed=config.seed,
        device=config.device,
        threads=config.threads or provenance.cores(),
        force=force,
    )
    stopping.take()  # Prefect's engine has just put its own handler for SIGTERM in place
    with stopping.closing(lambda: tracking.close(run_id, "KILLED")):
        try:
            yield context
        except BaseException as error:
            tracking.close(run_id, tracking.status_of(error))
            raise
        tracking.client().set_terminated(run_id, "FINISHED")


def prepare(
    context: RunContext,
    config: RunConfig,
    data: DataConfig,
    run: Callable[[State[Any]], StageOutcome],
    begin: Callable[[ArtifactRef], Start | None] = lambda split: None,
) -> Prepared:
    """Data, graphs and teacher, in the order that the kind of graph asks for.

    Args:
        context: the run.
        config: settings of graphs and teacher.
        data: settings of the data.
        run: takes each stage's state and gives its outcome; may raise to stop.
        begin: finds where the trainings on a split start; from nothing if it is not given.
    """
    split = run(ingest(context, data, return_state=True)).refs["split"]
    _lineage(context, split, data)
    start = begin(split)
    before = start.before if start is not None else None
    by_features = config.graph.kind == "features"
    graphs = None if by_features else run(graph(context, split, config.graph, return_state=True)).refs["graphs"]
    taught = run(teacher(context, split, config.teacher, before, config.start, return_state=True))
    if graphs is None:
        graphs = run(graph(context, split, config.graph, taught.refs["teacher"], return_state=True)).refs["graphs"]
    return Prepared(split, graphs, taught, start)


def _lineage(context: RunContext, ref: ArtifactRef, data: DataConfig) -> None:
    info = context.workspace.store.open(ref, Split).info
    profile = f'{{"rows_read": {info.rows_read}}}'
    source = ", ".join(labels_of(data))
    tracking.log_data(
        context.mlflow_run_id, name=name_of(data), digest=ref.digest, source=source, profile=profile, context="train"
    )
