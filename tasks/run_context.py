"""What every task of a run gets: where to work, who asks, and how much of the machine it may use."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TypeVar

from prefect.context import FlowRunContext
from pydantic import BaseModel, ConfigDict, Field

from freqd import provenance
from freqd.config import EngineConfig, IndexConfig, RunConfig
from freqd.storage.files import text_digest
from freqd.storage.store import ArtifactRef
from tasks.runtime.workspace import Workspace


class RunContext(BaseModel):
    """Names and limits of one run. Passed between tasks, so plain values only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workdir: str
    run_name: str
    mlflow_run_id: str
    mlflow_experiment_id: str
    seed: int
    device: str
    threads: int
    engine: EngineConfig = EngineConfig()
    blocks: bool = Field(True, description="Whether the engine's machines share the blocks of its stages.")
    index: IndexConfig = IndexConfig(kind="exact")
    force: tuple[str, ...] = Field((), description="Stages that are computed even if their result is cached.")

    @cached_property
    def workspace(self) -> Workspace:
        """The working directory."""
        return Workspace(Path(self.workdir))

    @property
    def folder(self) -> Path:
        """Where the run's summary, report and settings lie."""
        return self.workspace.runs / self.run_name


class StageOutcome(BaseModel):
    """What a stage leaves: references to its artifacts, and what it cost.

    ``seconds`` and ``peak_bytes`` are those of the computation, also when it was found in the cache.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    refs: dict[str, ArtifactRef] = Field(
        description="Its artifacts by name; those that a stage always makes are attributes as well."
    )
    mlflow_run_id: str
    cached: bool
    seconds: float
    peak_bytes: int
    headline: str = Field(description="The result in one line, for the terminal.")

    @property
    def cost(self) -> str:
        """What it cost, in words."""
        return "cached" if self.cached else f"{self.seconds:.1f} s"

    @property
    def told(self) -> str:
        """The result and what it cost in one line, for the Prefect page."""
        return f"{self.headline} ({self.cost})"

    @property
    def digest(self) -> str:
        """Digest of all that the stage made."""
        return text_digest(*(f"{name}={ref.digest}" for name, ref in sorted(self.refs.items())))


Outcome = TypeVar("Outcome", bound=StageOutcome)


def flow_run_id() -> str:
    """Prefect's id of the flow run that asks, empty outside of one."""
    found = FlowRunContext.get()
    return str(found.flow_run.id) if found and found.flow_run else ""


def origin(config: RunConfig) -> dict[str, str]:
    """Tags that say which settings, packages, code and flow run something came from."""
    return {
        "freqd.config_digest": text_digest(config.model_dump_json()),
        "freqd.lock_digest": provenance.lock_digest(),
        "freqd.git": provenance.git_state(),
        "prefect.flow_run_id": flow_run_id(),
    }
