"""The one training loop: BPR teachers, scratch students and distilled students all go through ``fit``.

    loss = base_weight · BPR + Σ_terms weight · term + weight_decay · L2

BPR and L2 are those of ``pairs``, means over the batch's triples.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor, nn

from freqd.embeddings import Embeddings, FloatMatrix, TrainedModel
from freqd.errors import DivergedError
from freqd.progress import Progress, silent
from freqd.storage.files import text_digest
from freqd.training.adam import DenseAdam, Optimizer, SmallAdam
from freqd.training.bpr_loss import View
from freqd.training.checkpoint import Best, Checkpoint
from freqd.training.device import resolve
from freqd.training.sampling import Batch, Sampler

__all__ = [
    "Batch",
    "FitSettings",
    "Probe",
    "Recommender",
    "Term",
    "TrainingView",
    "Validate",
    "View",
    "Watch",
    "fit",
]

Validate = Callable[[Embeddings], float]
Probe = Callable[[int, Embeddings], dict[str, Any]]
Watch = Callable[[int, float], None]


class TrainingView(View, Protocol):
    """A view that the loop differentiates."""

    def backward(self, batch: Batch, others: Tensor, base_weight: float, weight_decay: float) -> Tensor:
        """Add the gradient of others + base_weight · BPR + weight_decay · L2 on the batch to the parameters.

        Args:
            others: a scalar made of this view; it need not depend on it.

        Returns:
            BPR's value without a gradient; 0 where base_weight is 0.
        """
        ...


class Term(Protocol):
    """One further term of the loss."""

    name: str
    weight: float

    def parameters(self) -> Iterable[nn.Parameter]:
        """What the term trains beside the model (projectors), on the training device from the start."""
        ...

    def begin_epoch(self, epoch: int, student: Embeddings, rng: np.random.Generator) -> None:
        """Prepare an epoch (from 1).

        Args:
            student: the present final features; may share memory with the model, so it changes during the epoch.
            rng: depends on (seed, epoch) and the term's position only. Whatever a term keeps from one epoch to
                the next, other than its parameters, is lost when a training is resumed.
        """
        ...

    def loss(self, view: View, batch: Batch) -> Tensor:
        """The term's mean over the batch, a scalar, without its weight."""
        ...


class Recommender(Protocol):
    """A model that ``fit`` can train."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n_users, n_items, d)."""
        ...

    @property
    def parallel(self) -> bool:
        """Whether a step is large enough for several CPU threads to pay; else they cost more than they give."""
        ...

    def prepare(self, device: torch.device, learning_rate: float) -> Optimizer:
        """Move to ``device`` and give the optimizer of all parameters; called once, before any view."""
        ...

    def view(self) -> TrainingView:
        """The model as it is now, for one step."""
        ...

    def features(self) -> Embeddings:
        """Present final features; shares memory with the model where it can."""
        ...

    def extra(self) -> dict[str, FloatMatrix]:
        """Further tensors of the trained model; as ``features``."""
        ...

    def tables(self) -> dict[str, Tensor]:
        """The parameters by name, up to date, to be saved or written into."""
        ...


@dataclass(frozen=True)
class FitSettings:
    """How to train.

    Attributes:
        epochs: at the most.
        batch_size: interactions a step.
        learning_rate: of Adam, at the start.
        decay: share of the training, at its end, over which the step size falls to 0 in a straight line; 0 keeps it.
        weight_decay: factor of the L2 of the batch's raw rows; the terms' own parameters are not decayed.
        eval_every: epochs between two validations.
        patience: validations without a better NDCG@10 before training stops.
        max_seconds: time budget over all resumed parts; the best so far is kept.
        base_weight: factor of the BPR loss; 0 leaves it out.
        device: auto, cpu, cuda or cuda:N.
    """

    epochs: int = 100
    batch_size: int = 2048
    learning_rate: float = 1e-3
    decay: float = 0.0
    weight_decay: float = 1e-5
    eval_every: int = 2
    patience: int = 5
    max_seconds: float | None = None
    base_weight: float = 1.0
    device: str = "auto"


def fit(
    model: Recommender,
    terms: Sequence[Term],
    train: sparse.csr_array,
    *,
    validate: Validate,
    settings: FitSettings,
    seed: int,
    checkpoint: Path | None = None,
    probe: Probe | None = None,
    watch: Watch | None = None,
    progress: Progress = silent,
) -> TrainedModel:
    """Train ``model`` and return its best validated state.

    The start counts as epoch 0 and is validated too, so a warm start is never made worse. Randomness comes from
    (seed, epoch), so a run that is killed and resumed from its checkpoint ends, on one CPU thread, bit for bit
    where an uninterrupted one does. Time-dependent are only ``max_seconds``, if it is too short for all epochs, and
    the seconds reported.

    Args:
        terms: added to the loss with their weights.
        train: (n_users, n_items) binary CSR with sorted indices.
        validate: NDCG@10 on the validation split; higher is better.
        checkpoint: file to keep the state in (or a folder, for ``training.safetensors`` in it): written after
            validations and at the end of an epoch when the last one is 20 s old, resumed if it belongs to the
            same settings. The caller removes it.
        probe: called with (epoch, features) at each validation; what it returns goes into the history entry.
        watch: called with (epoch, NDCG@10) of each validation; whatever it raises ends the training.
        progress: called at each epoch.

    Returns:
        Features of the best validation; ``history`` with ``epoch``, ``seconds``, ``valid_ndcg_at_10`` and (after
        epoch 0) ``loss`` and ``losses`` by term, means over the epoch; ``info`` with ``best_epoch``,
        ``valid_ndcg_at_10``, ``epochs``, ``seconds``, ``stopped`` (patience, epochs or time), ``resumed_from``.

    Raises:
        DivergedError: the loss is no longer finite.
        InputError: the checkpoint cannot be written.
        ValueError: there is no loss at all.
    """
    if settings.base_weight <= 0 and not terms:
        raise ValueError("nothing to train: base_weight is 0 and there are no terms")
    started = time.perf_counter()
    device = resolve(settings.device)
    parts = _Parts(model, terms, device, settings)
    sampler = Sampler(train, settings.batch_size, device)
    file = Checkpoint(checkpoint, _identity(model, terms, train, settings, seed, parts), parts)
    run = file.resume()
    resumed_from, before = (run.epoch if run.best else None), run.seconds

    def elapsed() -> float:
        return before + time.perf_counter() - started

    def out_of_time() -> bool:
        return settings.max_seconds is not None and elapsed() >= settings.max_seconds

    def validated(losses: dict[str, float]) -> Best:
        """Judge the present features, write the history, and give the best there is now."""
        features = model.features()
        _check_finite({"features": float(features.users.sum() + features.items.sum())}, run.epoch, settings)
        score = float(validate(features))
        entry: dict[str, Any] = {"epoch": run.epoch, "seconds": round(elapsed(), 3), "valid_ndcg_at_10": score}
        if losses:
            entry |= {"loss": _total(losses, terms, settings), "losses": losses}
        run.history.append(entry | (probe(run.epoch, features) if probe else {}))
        if watch is not None:
            watch(run.epoch, score)
        if run.best is not None and score <= run.best.score:
            run.waited += 1
            return run.best
        run.waited = 0
        extra = {name: value.copy() for name, value in model.extra().items()}
        return Best(run.epoch, score, features.users.copy(), features.items.copy(), extra)

    best = run.best = run.best or validated({})
    stopped = "epochs"
    while run.epoch < settings.epochs:
        if run.waited >= settings.patience or out_of_time():
            stopped = "patience" if run.waited >= settings.patience else "time"
            break
        parts.set_step_size(_step_size(settings, run.epoch, elapsed()))
        run.epoch += 1
        with _threads(None if model.parallel else 1), _rounded_products(device):
            losses = _train_epoch(model, terms, sampler, parts, settings, seed, run.epoch)
        _check_finite(losses, run.epoch, settings)
        due = run.epoch % settings.eval_every == 0 or run.epoch == settings.epochs or out_of_time()
        if due:
            best = run.best = validated(losses)
        run.seconds = elapsed()
        file.save_if_due(run, after_validation=due)
        total, last = _total(losses, terms, settings), run.history[-1]["valid_ndcg_at_10"]
        progress(run.epoch / settings.epochs, f"epoch {run.epoch}: loss {total:.4f}, validation NDCG@10 {last:.4f}")

    info = {
        "best_epoch": best.epoch,
        "valid_ndcg_at_10": best.score,
        "epochs": run.epoch,
        "seconds": round(elapsed(), 3),
        "stopped": stopped,
        "resumed_from": resumed_from,
        "device": str(device),
        "learning_rate": settings.learning_rate,
        "weight_decay": settings.weight_decay,
        "batch_size": settings.batch_size,
    }
    return TrainedModel(Embeddings(best.users, best.items), run.history, info, best.extra)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Let torch use ``count`` CPU threads for a while; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _rounded_products(device: torch.device) -> Iterator[None]:
    """Let a GPU round the factors of dense float32 products to TF32 (10 bits) for a while; a CPU changes nothing."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if device.type == "cuda" else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class _Parts:
    """All that is trained: the model and the terms' parameters, with their optimizers."""

    def __init__(self, model: Recommender, terms: Sequence[Term], device: torch.device, settings: FitSettings) -> None:
        self._model = model
        self._optimizer = model.prepare(device, settings.learning_rate)
        self._parameters = [parameter for term in terms for parameter in term.parameters()]
        small = SmallAdam if device.type == "cpu" else DenseAdam
        self._term_optimizer: Optimizer = small(self._parameters, settings.learning_rate)

    def set_step_size(self, learning_rate: float) -> None:
        """Use it from the next step on."""
        self._optimizer.set_step_size(learning_rate)
        self._term_optimizer.set_step_size(learning_rate)

    def step(self) -> None:
        """One step of both optimizers."""
        self._optimizer.step()
        self._term_optimizer.step()

    def tensors(self) -> dict[str, Tensor]:
        """For ``Checkpoint``."""
        groups: dict[str, Mapping[str, Tensor]] = {
            "model": self._model.tables(),
            "optimizer": self._optimizer.state(),
            "term": {str(n): parameter for n, parameter in enumerate(self._parameters)},
            "term_optimizer": self._term_optimizer.state(),
        }
        return {f"{group}/{name}": tensor for group, named in groups.items() for name, tensor in named.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """For ``Checkpoint``."""
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "term": {}, "term_optimizer": {}}
        for key, tensor in tensors.items():
            group, name = key.split("/", 1)
            groups[group][name] = tensor
        with torch.no_grad():
            for name, table in self._model.tables().items():
                table.copy_(groups["model"][name])
            for n, parameter in enumerate(self._parameters):
                parameter.copy_(groups["term"][str(n)])
        self._optimizer.load(groups["optimizer"])
        self._term_optimizer.load(groups["term_optimizer"])


def _step_size(settings: FitSettings, epochs: int, seconds: float) -> float:
    """The step size of the next epoch, after so many of them and so much time.

    How far the training is: the share of the epochs, or the square of that of the time if it is ahead by more than an
    epoch. So a training that the clock will stop has small steps too by then. Where all epochs can be done the square
    is never ahead, so that the clock does not touch what such a training learns.
    """
    if settings.decay <= 0:
        return settings.learning_rate
    done = epochs / settings.epochs
    if settings.max_seconds is not None:
        by_clock = min(seconds / settings.max_seconds, 1.0) ** 2
        done = by_clock if by_clock > done + 1 / settings.epochs else done
    return settings.learning_rate * min(1.0, (1.0 - done) / settings.decay)


def _train_epoch(
    model: Recommender,
    terms: Sequence[Term],
    sampler: Sampler,
    parts: _Parts,
    settings: FitSettings,
    seed: int,
    epoch: int,
) -> dict[str, float]:
    """One pass over the interactions; mean loss by term. The only wait for the device is at the end."""
    model.tables()  # brings all rows up to date at the same point of every epoch, whoever else may read them
    for position, term in enumerate(terms):
        term.begin_epoch(epoch, model.features(), np.random.default_rng([seed, epoch, 1 + position]))
    names = (["bpr"] if settings.base_weight > 0 else []) + [term.name for term in terms]
    sums: Tensor | None = None
    for batch in sampler.epoch(seed, epoch):
        view = model.view()
        losses = [term.loss(view, batch) for term in terms]
        learning = [term.weight * loss for term, loss in zip(terms, losses, strict=True) if loss.requires_grad]
        others = sum(learning[1:], learning[0]) if learning else torch.zeros(())
        bpr = view.backward(batch, others, settings.base_weight, settings.weight_decay)
        parts.step()
        values = [bpr, *(loss.detach() for loss in losses)]
        step = torch.stack(values if settings.base_weight > 0 else values[1:])
        sums = step if sums is None else sums + step
    if sums is None:
        return dict.fromkeys(names, 0.0)
    return dict(zip(names, (sums / sampler.n_steps).tolist(), strict=True))


def _total(losses: Mapping[str, float], terms: Sequence[Term], settings: FitSettings) -> float:
    weights = {"bpr": settings.base_weight} | {term.name: term.weight for term in terms}
    return sum(weights[name] * loss for name, loss in losses.items())


def _check_finite(losses: Mapping[str, float], epoch: int, settings: FitSettings) -> None:
    broken = [name for name, loss in losses.items() if not math.isfinite(loss)]
    if broken:
        raise DivergedError(
            f"training diverged: {' and '.join(broken)} not finite in epoch {epoch} "
            f"with learning_rate {settings.learning_rate:g}",
            f"lower the learning_rate, for example to {settings.learning_rate / 10:g}",
        )


def _identity(
    model: Recommender,
    terms: Sequence[Term],
    train: sparse.csr_array,
    settings: FitSettings,
    seed: int,
    parts: _Parts,
) -> str:
    """Digest of all that a checkpoint must agree with to be resumed; to be called before the first step."""
    # Epochs beyond those of the checkpoint change nothing before it, but where they set the step sizes.
    later = {"max_seconds", "patience"} | (set() if settings.decay > 0 else {"epochs"})
    steps = {key: value for key, value in asdict(settings).items() if key not in later}
    return text_digest(
        type(model).__name__,
        str(model.shape),
        str(sorted(parts.tensors())),
        str([(name, _digest(table.detach().cpu().numpy())) for name, table in model.tables().items()]),
        str([(term.name, term.weight, [tuple(p.shape) for p in term.parameters()]) for term in terms]),
        f"{train.shape} {_digest(train.indptr)} {_digest(train.indices)}",
        str(steps),
        str(seed),
    )


def _digest(array: npt.NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
