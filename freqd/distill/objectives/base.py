"""The registry of objectives: a new one is one file in this folder with one decorated class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
from torch import Tensor, nn

from freqd.config import ObjectiveConfig, Settings, TeacherConfig
from freqd.config.base import parse_options
from freqd.distill.context import DistillContext
from freqd.embeddings import Embeddings
from freqd.errors import InputError
from freqd.plugins import Registry
from freqd.spectral.filters import SideFilters
from freqd.training.interfaces import View
from freqd.training.sampling import Batch


class Objective(ABC):
    """A term of the distillation loss.

    A subclass sets ``Options``, defines ``loss``, and overrides ``begin_epoch`` and ``parameters`` as far as it needs them.

    Attributes:
        name: its name in the registry.
        weight: its factor in the loss.
        options: its validated options.
        context: teacher, graphs and filters.
        needs_trajectory: whether it learns from the teacher's way (``context.trajectory``).
        by_user: whether its loss of some users needs nothing of others, so that the student can be trained in parts; it then has
            no parameters, and looks neither at the graphs nor at ``teacher.users`` as a whole.
        needs_features: whether it learns from the teacher's features (``context.teacher``), which lists do not have.
        filters: with which it filters features, if it does.
    """

    name: str = ""
    needs_trajectory: ClassVar[bool] = False
    needs_features: ClassVar[bool] = False
    by_user: ClassVar[bool] = False
    Options: ClassVar[type[Settings]] = Settings
    filters: SideFilters | None = None

    def __init__(self, options: Any, weight: float, context: DistillContext) -> None:
        self.options = options
        self.weight = weight
        self.context = context

    @classmethod
    def needs_measured_filters(cls, options: Any) -> bool:
        """Whether ``context.feature_filters`` must have been chosen by trials for these options."""
        return False

    @classmethod  # noqa: B027
    def prepare(cls, options: Any, context: DistillContext) -> None:
        """Have in the context what all parts share, before it is cut into parts of the users."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """What is trained with the student and thrown away afterwards."""
        return ()

    def state(self) -> Mapping[str, Tensor]:
        """What else lasts from one epoch to the next, by name: live tensors, which checkpoints save and restore in place."""
        return {}

    def begin_epoch(self, epoch: int, student: Embeddings, rng: np.random.Generator) -> None:  # noqa: B027
        """Refresh what lasts for an epoch; what is to last longer must be a parameter or in the state.

        Args:
            epoch: from 1.
            student: its features now; not to be changed or kept.
            rng: source of the epoch's random choices.
        """

    @abstractmethod
    def loss(self, view: View, batch: Batch) -> Tensor:
        """The term at this step, before its weight: a scalar."""


REGISTRY: Registry[type[Objective]] = Registry("objective", "freqd.objectives")
"""All objectives by name."""

O = TypeVar("O", bound=type[Objective])  # noqa: E741 - one objective class


def objective(name: str) -> Callable[[O], O]:
    """Class decorator that enters an objective under ``name``.

    Raises:
        ValueError: the name is taken.
    """

    def enter(cls: O) -> O:
        REGISTRY.enter(name, cls, cls.__module__)
        cls.name = name
        return cls

    return enter


def trajectory_needed(name: str) -> InputError:
    """The error of an objective that has no teacher's way to learn from."""
    return InputError(
        f"distill.objectives: {name!r} learns from the teacher's rankings at several points of its training, "
        "and this teacher keeps fewer than two",
        "set teacher.trajectory_points, for example to 4; external embeddings have no training",
    )


def features_needed(name: str) -> InputError:
    """The error of an objective that has no features to learn from."""
    return InputError(
        f"distill.objectives: {name!r} learns from the teacher's features, and lists have none",
        "use terms that learn from a ranking, such as rce: --set 'distill.objectives=[{name = \"rce\"}]'",
    )


def check_objectives(
    configs: Sequence[ObjectiveConfig], teacher: TeacherConfig | None = None
) -> list[tuple[type[Objective], Settings, float]]:
    """Class, validated options and weight of each entry of ``distill.objectives``, before anything expensive.

    Args:
        configs: the entries.
        teacher: how the teacher will be trained, if that is known.

    Raises:
        InputError: an unknown objective, option or value, the message names what there is; or an objective that needs
            the teacher's way, which the teacher will not keep, or features, which it will not have.
    """
    checked = []
    for config in configs:
        cls = REGISTRY.get(config.name)
        if cls is None:
            raise InputError(
                f"distill.objectives: there is no objective {config.name!r}",
                f"use one of {', '.join(sorted(REGISTRY))}, or name the file of your own with --plugin",
            )
        options = parse_options(cls.Options, config.options, "distill.objectives", config.name)
        if teacher is not None and cls.needs_trajectory and config.weight > 0.0 and teacher.trajectory_points < 2:
            raise trajectory_needed(config.name)
        if teacher is not None and teacher.kind == "lists" and cls.needs_features and config.weight > 0.0:
            raise features_needed(config.name)
        checked.append((cls, options, config.weight))
    return checked


def build_objectives(configs: Sequence[ObjectiveConfig], context: DistillContext) -> list[Objective]:
    """The terms of ``distill.objectives``; one of weight 0 is left out.

    Raises:
        InputError: see ``check_objectives``.
    """
    return [cls(options, weight, context) for cls, options, weight in check_objectives(configs) if weight > 0.0]
