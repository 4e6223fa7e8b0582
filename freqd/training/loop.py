"""The one training loop: BPR teachers, scratch students and distilled students all go through ``fit``.

    loss = base_weight · BPR + Σ_terms weight · term + weight_decay · L2

BPR and L2 are those of ``pairs``, means over the batch's triples.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

from freqd.embeddings import Embeddings, HistoryEntry, ModelInfo, TrainedModel
from freqd.errors import DivergedError
from freqd.training.checkpoint import Best, Checkpoint
from freqd.training.environment import TrainingEnvironment
from freqd.training.interfaces import LossTerm, Trainable, TrainingData
from freqd.training.learner import Learner, ModelLearner
from freqd.training.optim import OptimConfig


def fit(
    model: Trainable,
    terms: Sequence[LossTerm],
    data: TrainingData,
    optim: OptimConfig,
    environment: TrainingEnvironment,
) -> TrainedModel:
    """Train ``model`` and return its best validated state.

    The start counts as epoch 0 and is validated too, so a warm start is never made worse. Randomness comes from
    (seed, epoch), so a run that is killed and resumed from its checkpoint ends, on one CPU thread, bit for bit
    where an uninterrupted one does. Time-dependent are only ``max_seconds``, if it is too short for all epochs, and
    the seconds reported.

    Args:
        terms: added to the loss with their weights.
        data: what to learn from and to be judged by; with ``optim.stop_after`` nothing is judged.
        optim: how the training goes.
        environment: its ``checkpoint`` is the file to keep the state in (or a folder, for ``training.safetensors`` in it):
            written after validations and at the end of an epoch when the last one is 20 s old, resumed if it belongs
            to the same training. The caller removes it.

    Returns:
        Features of the best validation; ``history`` with ``epoch``, ``seconds``, ``valid_ndcg_at_10`` and (after
        epoch 0) ``loss`` and ``losses`` by term, means over the epoch; ``info`` with ``best_epoch``,
        ``valid_ndcg_at_10``, ``epochs``, ``planned_epochs``, ``seconds``, ``stopped`` (patience, epochs or time),
        ``resumed_from``. With ``optim.stop_after`` the last state, and no ``valid_ndcg_at_10``.

    Raises:
        DivergedError: the loss is no longer finite.
        InputError: the checkpoint cannot be written.
        ValueError: there is no loss at all.
    """
    learner = ModelLearner(model, terms, data.train, optim, environment.device, environment.seed)
    return fit_learner(learner, data, optim, environment)


def fit_learner(
    learner: Learner, data: TrainingData, optim: OptimConfig, environment: TrainingEnvironment
) -> TrainedModel:
    """The same of whatever can be trained by epochs.

    Raises:
        DivergedError, InputError, ValueError: as of ``fit``.
    """
    if not any(weight > 0 for weight in learner.weights.values()):
        raise ValueError("nothing to train: base_weight is 0 and there are no terms")
    return _Training(learner, data, optim, environment).run()


class _Training:
    """One training under way."""

    def __init__(
        self, learner: Learner, data: TrainingData, optim: OptimConfig, environment: TrainingEnvironment
    ) -> None:
        self.started = time.perf_counter()
        self.learner, self.data, self.optim, self.environment = learner, data, optim, environment
        self.file = Checkpoint(environment.checkpoint, learner.identity(), learner)
        self.at = self.file.resume()
        self.seconds_before = self.at.seconds
        self.resumed_from = self.at.epoch if self.at.best else None

    def run(self) -> TrainedModel:
        """Train until it is over."""
        at, optim = self.at, self.optim
        best = at.best = at.best or self.validated({})
        stopped = "epochs"
        end = optim.epochs if optim.stop_after is None else optim.stop_after
        while at.epoch < end:
            if at.waited >= optim.patience or self.out_of_time():
                stopped = "patience" if at.waited >= optim.patience else "time"
                break
            step_size = optim.step_size(at.epoch, self.elapsed())
            at.epoch += 1
            losses = self.learner.epoch(at.epoch, step_size)
            self.check_finite(losses)
            due = at.epoch % optim.eval_every == 0 or at.epoch == end or self.out_of_time()
            if due:
                best = at.best = self.validated(losses)
            at.seconds = self.elapsed()
            self.file.save_if_due(at, after_validation=due)
            judged = (
                "" if optim.stop_after is not None else f", validation NDCG@10 {at.history[-1]['valid_ndcg_at_10']:.4f}"
            )
            self.environment.progress(at.epoch / end, f"epoch {at.epoch}: loss {self.total(losses):.4f}{judged}")
        info: ModelInfo = {
            "best_epoch": best.epoch,
            "epochs": at.epoch,
            "planned_epochs": optim.epochs,
            "seconds": round(self.elapsed(), 3),
            "stopped": stopped,
            "resumed_from": self.resumed_from,
            "device": self.learner.device,
            "learning_rate": optim.learning_rate,
            "weight_decay": optim.weight_decay,
            "batch_size": optim.batch_size,
        }
        if optim.stop_after is None:
            info["valid_ndcg_at_10"] = best.score
        return TrainedModel(Embeddings(best.users, best.items), at.history, info, best.extra)

    def elapsed(self) -> float:
        """Seconds of this training, those before it was resumed included."""
        return self.seconds_before + time.perf_counter() - self.started

    def out_of_time(self) -> bool:
        """Whether its time budget is spent."""
        return self.optim.max_seconds is not None and self.elapsed() >= self.optim.max_seconds

    def validated(self, losses: dict[str, float]) -> Best:
        """Judge the present features, write the history, and give the best there is now; unjudged, the last is the best."""
        at, features = self.at, self.learner.features()
        self.check_finite({"features": float(features.users.sum() + features.items.sum())})
        judged = self.optim.stop_after is None
        score = float(self.data(features)) if judged else 0.0
        entry: HistoryEntry = {"epoch": at.epoch, "seconds": round(self.elapsed(), 3)}
        if judged:
            entry["valid_ndcg_at_10"] = score
        if losses:
            entry |= {"loss": self.total(losses), "losses": losses}
        if self.environment.observe is not None:
            entry |= self.environment.observe(at.epoch, features, score)
        at.history.append(entry)
        if judged and at.best is not None and score <= at.best.score:
            at.waited += 1
            return at.best
        at.waited = 0
        extra = {name: value.copy() for name, value in self.learner.extra().items()}
        return Best(at.epoch, score, features.users.copy(), features.items.copy(), extra)

    def total(self, losses: Mapping[str, float]) -> float:
        """The whole loss."""
        return sum(self.learner.weights[name] * loss for name, loss in losses.items())

    def check_finite(self, losses: Mapping[str, float]) -> None:
        """See that the training is still one.

        Raises:
            DivergedError: it is not.
        """
        broken = [name for name, loss in losses.items() if not math.isfinite(loss)]
        if broken:
            rate = self.optim.learning_rate
            raise DivergedError(
                f"training diverged: {' and '.join(broken)} not finite in epoch {self.at.epoch} with learning_rate {rate:g}",
                f"lower the learning_rate, for example to {rate / 10:g}",
            )
