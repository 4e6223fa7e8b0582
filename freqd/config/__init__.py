"""Every setting of freqd, typed, in one place.

The same models are the command line's ``--set section.key=value``, the TOML file of ``--config``,
the form on the Prefect page and the table in docs/settings.md. They are frozen and refuse unknown keys.
"""

from __future__ import annotations

from freqd.config.analysis import EvaluateConfig, GraphConfig, SpectralConfig
from freqd.config.base import Fraction, Scalar, Settings, describe
from freqd.config.data import Column, ColumnConfig, DataConfig
from freqd.config.models import AutoEpochs, BaselinesConfig, DistillConfig, MethodConfig, ObjectiveConfig, TeacherConfig
from freqd.config.operations import (
    BY_SIZE,
    CadenceConfig,
    DriftConfig,
    EngineConfig,
    IndexConfig,
    RegistryConfig,
    StartConfig,
)
from freqd.config.plans import BackfillPlan, ComparisonPlan, ComparisonPreset, SearchPlan
from freqd.config.report import ReportConfig
from freqd.config.run import RunConfig

__all__ = [
    "BY_SIZE",
    "AutoEpochs",
    "BackfillPlan",
    "BaselinesConfig",
    "CadenceConfig",
    "Column",
    "ColumnConfig",
    "ComparisonPlan",
    "ComparisonPreset",
    "DataConfig",
    "DistillConfig",
    "DriftConfig",
    "EngineConfig",
    "EvaluateConfig",
    "Fraction",
    "GraphConfig",
    "IndexConfig",
    "MethodConfig",
    "ObjectiveConfig",
    "RegistryConfig",
    "ReportConfig",
    "RunConfig",
    "Scalar",
    "SearchPlan",
    "Settings",
    "SpectralConfig",
    "StartConfig",
    "TeacherConfig",
    "describe",
]
