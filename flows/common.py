"""What every flow begins with: its run in MLflow, then data, graphs and teacher."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from mlflow.entities import Dataset

from freqd import provenance
from freqd.config import DataConfig, RunConfig
from freqd.data.interactions import Split
from freqd.data.sources import labels_of, name_of
from freqd.evaluate import faiss_index
from freqd.storage.store import ArtifactRef
from freqd.teachers.training import check_teacher
from tasks.conclusion import UNDECIDED, offer_table
from tasks.earlier_run import EarlierModel
from tasks.mlops import tracking
from tasks.run_context import RunContext, StageOutcome, origin
from tasks.runtime import stopping
from tasks.runtime.workspace import Workspace
from tasks.stages.graphs import Built, graph
from tasks.stages.ingest import Ingested, ingest
from tasks.stages.inputs import DistillInputs
from tasks.stages.items import items
from tasks.stages.spectrum import Analysed, spectrum
from tasks.stages.teacher import Taught, teacher
from tasks.warm_start import Start

T = TypeVar("T")


@dataclass(frozen=True)
class Foundations:
    """What students are taught from."""

    ingested: Ingested
    start: Start | None
    taught: Taught
    built: Built
    analysed: Analysed

    @property
    def inputs(self) -> DistillInputs:
        """For the distillation."""
        return DistillInputs(
            split=self.ingested.split,
            teacher=self.taught.teacher,
            graphs=self.built.graphs,
            spectrum=self.analysed.spectrum,
        )

    @property
    def earlier_student(self) -> EarlierModel | None:
        """The student that the distillation goes on from."""
        return None if self.start is None else self.start.model("student")


@dataclass(frozen=True)
class NewRun:
    """A run that begins.

    Attributes:
        name: of the run.
        params: what MLflow shows as its parameters.
        kind: of job, as a tag; empty for the main job.
        force: stages that are computed even if their result is at hand.
    """

    name: str
    params: Mapping[str, object]
    kind: str = ""
    force: tuple[str, ...] = ()


@contextmanager
def open_run(workspace: Workspace, config: RunConfig, new: NewRun) -> Iterator[RunContext]:
    """The MLflow run under which all stages are kept; closed as finished, or as failed if the block raises.

    Args:
        workspace: the working directory.
        config: all settings.
        new: the run.
    """
    experiment_id = tracking.experiment(workspace)
    offer_table(experiment_id)
    undecided = {} if new.kind else UNDECIDED
    own = {
        **undecided,
        "freqd.version": provenance.versions().get("freqd", ""),
        **origin(config),
        "freqd.kind": new.kind,
    }
    run_id = tracking.start_parent(experiment_id, new.name, {k: v for k, v in own.items() if v})
    tracking.log(run_id, params=new.params)
    context = RunContext(
        workdir=str(workspace.root),
        run_name=new.name,
        mlflow_run_id=run_id,
        mlflow_experiment_id=experiment_id,
        seed=config.seed,
        device=config.device,
        threads=config.threads or provenance.cores(),
        engine=config.engine,
        index=faiss_index.settled(config.index),
        force=new.force,
    )
    stopping.take()  # Prefect's engine has just put its own handler for SIGTERM in place
    with stopping.closing(lambda: tracking.close(run_id, "KILLED")):
        try:
            yield context
        except BaseException as error:
            tracking.close(run_id, tracking.status_of(error))
            raise
        tracking.client().set_terminated(run_id, "FINISHED")


def foundations(
    run: RunContext,
    config: RunConfig,
    data: DataConfig,
    begin: Callable[[ArtifactRef], Start | None] = lambda split: None,
    *,
    titles: bool = False,
) -> Generator[StageOutcome, None, Foundations]:
    """The stages from the data to the spectrum, each yielded when it is done; returns all of them.

    Args:
        run: the run.
        config: settings of graphs, teacher and spectrum.
        data: settings of the data.
        begin: finds where the trainings on a split start; from scratch if it is not given.
        titles: whether the item table is read, if there is one.

    Raises:
        InputError: there is no such kind of teacher; a run that the API started was not checked before.
    """
    check_teacher(config.teacher)
    yield (ingested := ingest(run, data))
    split = ingested.split
    _lineage(run, split, data)
    if titles and data.items is not None:
        yield items(run, split, data)
    start = begin(split)
    earlier = start.model("teacher") if start and config.teacher.kind == "als" else None
    if config.graph.kind == "features":
        yield (taught := teacher(run, split, config.teacher, earlier, config.start if earlier else None))
        yield (built := graph(run, split, config.graph, taught.teacher))
    else:
        yield (built := graph(run, split, config.graph))
        yield (taught := teacher(run, split, config.teacher, earlier, config.start if earlier else None))
    yield (analysed := spectrum(run, split, built.graphs, taught.teacher, config.spectral))
    return Foundations(ingested, start, taught, built, analysed)


def drain(stages: Generator[StageOutcome, None, T], book: Callable[[StageOutcome], object] = lambda outcome: None) -> T:
    """Run all of them, ``book`` each, and give what they return."""
    while True:
        try:
            book(next(stages))
        except StopIteration as end:
            found: T = end.value
            return found


def up_to(stages: Generator[StageOutcome, None, T], last: str | None) -> Generator[StageOutcome, None, T | None]:
    """The stages up to the one of that name, which returns None; without a name all of them."""
    while True:
        try:
            outcome = next(stages)
        except StopIteration as end:
            found: T = end.value
            return found
        yield outcome
        if outcome.name == last:
            return None


def _lineage(context: RunContext, ref: ArtifactRef, data: DataConfig) -> None:
    info = context.workspace.store.open(ref, Split).info
    entry = Dataset(
        name=name_of(data),
        digest=ref.digest[:36],
        source_type="local",
        source=", ".join(labels_of(data)),
        profile=f'{{"rows_read": {info.rows_read}}}',
    )
    tracking.log_data(context.mlflow_run_id, entry, context="train")
