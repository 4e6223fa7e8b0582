"""Objectives of distillation: every module of this folder is imported, and enters its objective into ``REGISTRY``."""

import importlib
import pkgutil

from freqd.distill.objectives.base import (
    REGISTRY,
    Objective,
    build_objectives,
    check_objectives,
    objective,
)

__all__ = ["REGISTRY", "Objective", "build_objectives", "check_objectives", "objective"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
