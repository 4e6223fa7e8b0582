"""Distillation: objectives in a registry, the warm start, and the student's trainings."""

from freqd.distill.context import DistillContext
from freqd.distill.objectives import REGISTRY, build_objectives, check_objectives
from freqd.distill.scratch import train_scratch
from freqd.distill.start import check_student
from freqd.distill.student import distill
from freqd.distill.svd import svd_student

__all__ = [
    "REGISTRY",
    "DistillContext",
    "build_objectives",
    "check_objectives",
    "check_student",
    "distill",
    "svd_student",
    "train_scratch",
]
