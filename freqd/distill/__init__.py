"""Distillation: objectives in a registry, the warm start, and the student's trainings."""

from freqd.distill.baseline import SmallModels, train_baselines
from freqd.distill.context import DistillContext
from freqd.distill.distillation import DistillSources, distill
from freqd.distill.objectives import REGISTRY, Objective, build_objectives, check_objectives, objective
from freqd.distill.refit import refit_student
from freqd.distill.warm_start import check_student

__all__ = [
    "REGISTRY",
    "DistillContext",
    "DistillSources",
    "Objective",
    "SmallModels",
    "build_objectives",
    "check_objectives",
    "check_student",
    "distill",
    "objective",
    "refit_student",
    "train_baselines",
]
