"""The registry of teachers: a kind of teacher is one function, and a new one is one file in ``freqd/teachers/kinds``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from freqd.config import Settings, StartConfig, TeacherConfig
from freqd.data.interactions import Split
from freqd.embeddings import TrainedModel
from freqd.plugins import Registry
from freqd.teachers.previous_model import PreviousModel
from freqd.training.environment import TrainingEnvironment

Train = Callable[[Split, TeacherConfig, TrainingEnvironment], TrainedModel]
Refit = Callable[[Split, TeacherConfig, TrainingEnvironment, TrainedModel, PreviousModel | None], TrainedModel]
Continue = Callable[[Split, TeacherConfig, TrainingEnvironment, PreviousModel, StartConfig], TrainedModel]


@dataclass(frozen=True)
class TeacherKind:
    """A kind of teacher.

    Attributes:
        train: makes one.
        options: what may stand in ``teacher.options``.
        resume: goes on from the teacher of an earlier run; None of a kind that always begins anew.
        keeps_trajectory: whether it keeps rankings of its training where ``teacher.trajectory_points`` asks for them.
        refit: trains the one that was judged again on other data; None of a kind that cannot do that.
    """

    train: Train
    options: type[Settings]
    resume: Continue | None
    keeps_trajectory: bool
    refit: Refit | None


REGISTRY: Registry[TeacherKind] = Registry("teacher", "freqd.teachers")
"""All kinds by name."""


def teacher(
    name: str,
    *,
    options: type[Settings] = Settings,
    resume: Continue | None = None,
    keeps_trajectory: bool = False,
    refit: Refit | None = None,
) -> Callable[[Train], Train]:
    """Decorator that enters a function as the kind ``name`` of teacher.

    The function gets the split, the settings (whose ``options`` are valid) and where it runs: ``environment.checkpoint`` is a
    folder for unfinished work. It trains on the train split, chooses by the validation split, and does not look at the test
    split. The ``info`` of what it returns may say anything; what is not in it of ``train_teacher``'s list is added.

    Args:
        name: the value of ``teacher.kind``.
        options: settings of its own, which stand in ``teacher.options``; none by default.
        resume: does the same from the teacher of an earlier run.
        keeps_trajectory: as in ``TeacherKind``.
        refit: makes the same again of all interactions with what ``train`` has chosen. It gets the data, which have no
            validation part, the settings, where it runs, the judged model, whose ``info`` says what was chosen, and the
            earlier model that this one went on from, if it did.

    Raises:
        ValueError: the name is taken.
    """

    def enter(train: Train) -> Train:
        REGISTRY.enter(name, TeacherKind(train, options, resume, keeps_trajectory, refit), train.__module__)
        return train

    return enter
