"""Kinds of teachers: every module of this folder is imported, and enters its kinds into ``freqd.teachers.registry``."""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
