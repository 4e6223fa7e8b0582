"""Where a training runs and who watches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from freqd.config import BY_SIZE, IndexConfig
from freqd.embeddings import Embeddings, HistoryEntry
from freqd.engine import HERE, Engine
from freqd.progress import Progress, silent

Observe = Callable[[int, Embeddings, float], HistoryEntry]
"""Called at each validation with (epoch, features, NDCG@10); what it returns goes into the history's entry, and whatever
it raises ends the training."""


@dataclass(frozen=True)
class TrainingEnvironment:
    """What surrounds a training, beside the data and the settings of the method.

    Attributes:
        seed: of every random choice; that and ``index`` change what is learnt.
        device: auto, cpu, cuda or cuda:N.
        checkpoint: file or folder where unfinished work is kept and taken up again; None keeps nothing. Each training says
            which of the two it wants.
        progress: told how far the work is.
        observe: asked at each validation, if there is one.
        engine: does what can be done in blocks.
        index: how the best of many items are found for lists to learn from; it changes them a little.
    """

    seed: int
    device: str = "auto"
    checkpoint: Path | None = None
    progress: Progress = silent
    observe: Observe | None = None
    engine: Engine = HERE
    index: IndexConfig = BY_SIZE

    def piece(self, number: int, count: int, label: str) -> TrainingEnvironment:
        """The same for one of ``count`` trainings of about the same cost, ``number`` from 0: its share of the progress.

        Args:
            label: put before what it says.
        """

        def progress(done: float, text: str) -> None:
            self.progress((number + done) / count, f"{label}{text}")

        return replace(self, progress=progress)
