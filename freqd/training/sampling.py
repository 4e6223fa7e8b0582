"""One epoch of training pairs: shuffled positives, exact uniform negatives, and users to rank.

A negative is drawn without rejection. Let p_0 < p_1 < ... be a user's items and r uniform in
[0, n_items − degree). Then r + k with k = #{j : p_j − j <= r} is the r-th item that the user does not have:
p_j − j counts the missing items below p_j. One binary search in the user's own row finds k.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor

from freqd.numerics.jit import kernel, njit

LongArray = npt.NDArray[np.int64]
IndexArray = npt.NDArray[np.int32]

STEPS_AT_ONCE = 64
"""Batches that are gathered together."""
DRAWS_AT_ONCE = 1 << 20
"""Negatives whose random numbers are held together."""


@dataclass(frozen=True)
class Batch:
    """What one training step sees; all int64 on the training device.

    Attributes:
        users, positives, negatives: (b,) each; the user has the positive in train and not the negative.
        rank_users: (r,) distinct users; over an epoch every user with a train item comes exactly once. Only
            when there are more steps than users they come again, so that no step is without any.
    """

    users: Tensor
    positives: Tensor
    negatives: Tensor
    rank_users: Tensor


@kernel()
def _missing_items(
    users: IndexArray,
    uniform: npt.NDArray[np.float64],
    n_items: int,
    indptr: LongArray,
    items: IndexArray,
    found: IndexArray,
) -> None:
    """Fill ``found`` with an item that ``users[n]`` does not have for each n; ``uniform`` in [0, 1) says which."""
    for n in range(len(users)):
        start, low, high = indptr[users[n]], indptr[users[n]], indptr[users[n] + 1]
        rank = int(uniform[n] * (n_items - (high - low)))
        while low < high:
            middle = (low + high) // 2
            if items[middle] - (middle - start) <= rank:
                low = middle + 1
            else:
                high = middle
        found[n] = rank + low - start


@njit(cache=True, nogil=True)
def _gathered(places: Any, users: IndexArray, positives: IndexArray, negatives: IndexArray) -> LongArray:
    """(3, len(places)): the columns at ``places``."""
    out = np.empty((3, len(places)), np.int64)
    for n in range(len(places)):
        out[0, n], out[1, n], out[2, n] = users[places[n]], positives[places[n]], negatives[places[n]]
    return out


Drawn = tuple[Callable[[slice], tuple[Tensor, Tensor, Tensor]], Tensor]
"""What gives users, positives and negatives of a part of an epoch, and its users to rank."""


class Sampler:
    """Draws epochs from the train matrix; an epoch depends on (seed, epoch) and the kind of device only.

    Interactions of a user who has every item are left out: there is no negative for them.

    On a CPU it holds 4 bytes an interaction beside the matrix, and during an epoch 8 more: users and items are 4-byte
    numbers, and become the 8-byte ones of a batch for some batches at a time.

    Args:
        train: (n_users, n_items) CSR with sorted, unique column indices.
        batch_size: interactions a step at the most.
        device: where the batches are made; on CUDA everything, random numbers too, stays there.
    """

    def __init__(self, train: sparse.csr_array, batch_size: int, device: torch.device) -> None:
        self._n_items = int(train.shape[1])
        self._indptr = train.indptr.astype(np.int64)
        self._items = train.indices.astype(np.int32, copy=False)
        degrees = np.diff(self._indptr)
        n_missing = self._n_items - degrees
        owners = np.repeat(np.arange(train.shape[0], dtype=np.int32), degrees)
        if (n_missing[degrees > 0] > 0).all():
            self._users, self._positives = owners, self._items
        else:
            usable = n_missing[owners] > 0
            self._users, self._positives = owners[usable], self._items[usable]
        self._rank_users = np.flatnonzero(degrees > 0)
        self._batch_size = batch_size
        self._device = device
        if device.type == "cuda":
            # p_j − j is sorted within a row; a distinct offset a row sorts it over all rows.
            offsets = np.arange(self._items.size) - np.repeat(self._indptr[:-1], degrees)
            keys = owners.astype(np.int64) * (self._n_items + 1) + self._items - offsets
            self._keys = torch.from_numpy(keys).to(device)
            self._starts = torch.from_numpy(self._indptr).to(device)
            self._missing = torch.from_numpy(n_missing).to(device)
            self._pairs = torch.from_numpy(np.stack([self._users, self._positives])).to(device).long()
            self._ranked = torch.from_numpy(self._rank_users).to(device)

    @property
    def n_steps(self) -> int:
        """Batches an epoch."""
        return -(-len(self._users) // self._batch_size)

    def epoch(self, seed: int, epoch: int) -> Iterator[Batch]:
        """The batches of one epoch: every usable interaction once, in random order.

        All batches have nearly the same size: under a mean loss, a small last one would weigh its few pairs heavily.
        """
        draw = self._draw_cuda if self._device.type == "cuda" else self._draw_cpu
        pairs, ranked = draw(seed, epoch)
        if len(ranked) < self.n_steps:
            ranked = ranked.repeat(-(-self.n_steps // len(ranked)))[: self.n_steps]
        bounds, rank_bounds = (
            np.linspace(0, n, self.n_steps + 1).astype(int).tolist() for n in (len(self._users), len(ranked))
        )
        for first in range(0, self.n_steps, STEPS_AT_ONCE):
            last = min(first + STEPS_AT_ONCE, self.n_steps)
            users, positives, negatives = pairs(slice(bounds[first], bounds[last]))
            for step in range(first, last):
                own = slice(bounds[step] - bounds[first], bounds[step + 1] - bounds[first])
                rank_users = ranked[rank_bounds[step] : rank_bounds[step + 1]]
                yield Batch(users[own], positives[own], negatives[own], rank_users)

    def _draw_cpu(self, seed: int, epoch: int) -> Drawn:
        rng = np.random.default_rng([seed, epoch])
        # Negatives are drawn in the matrix's order, in which the searches of a user follow each other, then shuffled.
        negatives = np.empty(len(self._users), np.int32)
        for first in range(0, len(negatives), DRAWS_AT_ONCE):
            part = slice(first, first + DRAWS_AT_ONCE)
            users, found = self._users[part], negatives[part]
            _missing_items(users, rng.random(len(users)), self._n_items, self._indptr, self._items, found)
        order = np.arange(len(negatives), dtype=np.int32 if len(negatives) < 2**31 else np.int64)
        rng.shuffle(order)
        ranked = torch.from_numpy(rng.permutation(self._rank_users))

        def pairs(part: slice) -> tuple[Tensor, Tensor, Tensor]:
            users, positives, drawn = torch.from_numpy(_gathered(order[part], self._users, self._positives, negatives))
            return users, positives, drawn

        return pairs, ranked

    def _draw_cuda(self, seed: int, epoch: int) -> Drawn:
        generator = torch.Generator(self._device)
        generator.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> 1))
        order = torch.randperm(self._pairs.shape[1], generator=generator, device=self._device)
        users, positives = self._pairs[:, order]
        uniform = torch.rand(len(users), generator=generator, device=self._device, dtype=torch.float64)
        ranks = (uniform * self._missing[users]).long()
        found = torch.searchsorted(self._keys, users * (self._n_items + 1) + ranks, right=True)
        negatives = ranks + found - self._starts[users]
        ranked = self._ranked[torch.randperm(len(self._ranked), generator=generator, device=self._device)]
        return lambda part: (users[part], positives[part], negatives[part]), ranked
