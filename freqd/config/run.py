"""All settings of a run."""

from __future__ import annotations

from pydantic import Field, model_validator

from freqd.config.analysis import EvaluateConfig, GraphConfig, SpectralConfig
from freqd.config.base import Settings
from freqd.config.data import DataConfig
from freqd.config.models import BaselinesConfig, DistillConfig, TeacherConfig
from freqd.config.operations import CadenceConfig, DriftConfig, EngineConfig, IndexConfig, RegistryConfig, StartConfig
from freqd.config.report import ReportConfig

MOVED = {
    "baseline_models": "models",
    "scratch_learning_rate": "learning_rate",
    "scratch_weight_decay": "weight_decay",
    "scratch_epochs": "epochs",
}
"""Settings of ``distill`` that are settings of ``baselines`` now."""


class RunConfig(Settings):
    """One run of freqd, from interactions to a registered student."""

    data: DataConfig = DataConfig()
    graph: GraphConfig = GraphConfig()
    teacher: TeacherConfig = TeacherConfig()
    spectral: SpectralConfig = SpectralConfig()
    baselines: BaselinesConfig = BaselinesConfig()
    distill: DistillConfig = DistillConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    report: ReportConfig = ReportConfig()
    registry: RegistryConfig = RegistryConfig()
    drift: DriftConfig = DriftConfig()
    start: StartConfig = StartConfig()
    cadence: CadenceConfig = CadenceConfig()
    engine: EngineConfig = EngineConfig()
    index: IndexConfig = IndexConfig()
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of every random choice.")
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: a GPU if there is one, else the CPU."
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="CPU threads; default: all cores this process may use."
    )
    budget_minutes: float | None = Field(
        None,
        gt=0.0,
        le=1e5,
        description="Time budget of the run: shortens the budgets of teacher, distillation and the no-distillation baseline, "
        "which then stop and keep the best so far.",
    )

    @property
    def refits(self) -> bool:
        """Whether what is registered is a refit on all interactions; published comparisons have none."""
        asked = self.registry.enabled and self.registry.refit == "all" and self.registry.candidate == "student"
        return asked and self.evaluate.protocol != "kd-paper"

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, given: object) -> object:
        """Settings of schedules and working directories that were made when ``baselines`` was part of ``distill``."""
        if not (isinstance(given, dict) and isinstance(given.get("distill"), dict)):
            return given
        if not {"baselines", *MOVED} & set(given["distill"]):
            return given
        distill = dict(given["distill"])
        moved = {new: distill.pop(old) for old, new in MOVED.items() if old in distill}
        if distill.pop("baselines", True) is False:
            moved["models"] = "none"
        for name in {"models", "learning_rate", "weight_decay"} & set(moved):
            moved[name] = moved[name] if isinstance(moved[name], list | tuple) else (moved[name],)
        return {**given, "distill": distill, "baselines": {**moved, **given.get("baselines", {})}}

    @model_validator(mode="after")
    def _consistent(self) -> RunConfig:
        if self.start.run != "none" and self.teacher.kind == "als" and self.teacher.trajectory_points:
            raise ValueError(
                "teacher.trajectory_points needs an ALS teacher that is trained from scratch; set start.run to none"
            )
        if self.registry.candidate == "baseline" and not self.baselines.small:
            raise ValueError(
                "registry.candidate = 'baseline' needs a model of the student's size: name als, bpr or softmax in baselines.models"
            )
        return self
