"""What the kinds share: a place for unfinished work, and the words about a time budget."""

from __future__ import annotations

from pathlib import Path

from freqd.config import TeacherConfig
from freqd.training.environment import TrainingEnvironment


def work_folder(environment: TrainingEnvironment) -> Path:
    """The folder for unfinished work.

    Raises:
        ValueError: there is none.
    """
    if environment.checkpoint is None:
        raise ValueError("a teacher keeps its unfinished work in environment.checkpoint, and there is none")
    return environment.checkpoint


def budget_warnings(hit: bool, not_tried: int, config: TeacherConfig) -> list[str]:
    """What to say of a search that its budget ended."""
    if not hit:
        return []
    left = f"{not_tried} settings were not tried" if not_tried else "not every good setting was trained to the end"
    return [
        f"the search of the teacher stopped at its budget of {config.search_seconds or config.max_seconds or 0:g} s: {left}; "
        "raise or leave out the time budget (budget_minutes, teacher.search_seconds), or give fewer values"
    ]
