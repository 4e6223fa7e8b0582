"""Kinds of teachers: every module of this folder is imported, and enters its kinds into ``REGISTRY``."""

import importlib
import pkgutil

from freqd.teachers.registry import REGISTRY, teacher

__all__ = ["REGISTRY", "teacher"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
