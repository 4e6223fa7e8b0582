"""One epoch of training pairs: shuffled positives, exact uniform negatives, and users to rank.

A negative is drawn without rejection. Let p_0 < p_1 < ... be a user's items and r uniform in
[0, n_items − degree). Then r + k with k = #{j : p_j − j <= r} is the r-th item that the user does not have:
p_j − j counts the missing items below p_j. One binary search in the user's own row finds k.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from numba import njit
from scipy import sparse
from torch import Tensor

LongArray = npt.NDArray[np.int64]


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


@njit(cache=True, nogil=True)
def _missing_items(users: LongArray, ranks: LongArray, indptr: LongArray, items: LongArray) -> LongArray:
    """The ``ranks[n]``-th item (from 0) that ``users[n]`` does not have, for each n."""
    found = np.empty(len(users), np.int64)
    for n in range(len(users)):
        start, low, high = indptr[users[n]], indptr[users[n]], indptr[users[n] + 1]
        while low < high:
            middle = (low + high) // 2
            if items[middle] - (middle - start) <= ranks[n]:
                low = middle + 1
            else:
                high = middle
        found[n] = ranks[n] + low - start
    return found


class Sampler:
    """Draws epochs from the train matrix; an epoch depends on (seed, epoch) and the kind of device only.

    Interactions of a user who has every item are left out: there is no negative for them.

    Args:
        train: (n_users, n_items) CSR with sorted, unique column indices.
        batch_size: interactions a step at the most.
        device: where the batches are made; on CUDA everything, random numbers too, stays there.
    """

    def __init__(self, train: sparse.csr_array, batch_size: int, device: torch.device) -> None:
        self._n_items = int(train.shape[1])
        self._indptr = train.indptr.astype(np.int64)
        self._items = train.indices.astype(np.int64)
        degrees = np.diff(self._indptr)
        self._n_missing = self._n_items - degrees
        owners = np.repeat(np.arange(train.shape[0]), degrees)
        usable = self._n_missing[owners] > 0
        self._users, self._positives = owners[usable], self._items[usable]
        self._rank_users = np.flatnonzero(degrees > 0)
        self._batch_size = batch_size
        self._device = device
        if device.type == "cuda":
            # p_j − j is sorted within a row; a distinct offset a row sorts it over all rows.
            offsets = np.arange(self._items.size) - np.repeat(self._indptr[:-1], degrees)
            keys = owners * (self._n_items + 1) + self._items - offsets
            self._keys = torch.from_numpy(keys).to(device)
            self._starts = torch.from_numpy(self._indptr).to(device)
            self._missing = torch.from_numpy(self._n_missing).to(device)
            self._pairs = torch.from_numpy(np.stack([self._users, self._positives])).to(device)
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
        users, positives, negatives, ranked = draw(seed, epoch)
        if len(ranked) < self.n_steps:
            ranked = ranked.repeat(-(-self.n_steps // len(ranked)))[: self.n_steps]
        pair_bounds, rank_bounds = (
            np.linspace(0, len(rows), self.n_steps + 1).astype(int).tolist() for rows in (users, ranked)
        )
        for step in range(self.n_steps):
            pairs = slice(pair_bounds[step], pair_bounds[step + 1])
            yield Batch(
                users[pairs], positives[pairs], negatives[pairs], ranked[rank_bounds[step] : rank_bounds[step + 1]]
            )

    def _draw_cpu(self, seed: int, epoch: int) -> tuple[Tensor, ...]:
        rng = np.random.default_rng([seed, epoch])
        # Negatives are drawn in the matrix's order, in which the searches of a user follow each other, then shuffled.
        ranks = (rng.random(len(self._users)) * self._n_missing[self._users]).astype(np.int64)
        drawn = _missing_items(self._users, ranks, self._indptr, self._items)
        order = rng.permutation(len(self._users))
        users, positives, negatives = self._users[order], self._positives[order], drawn[order]
        ranked = rng.permutation(self._rank_users)
        return tuple(torch.from_numpy(array) for array in (users, positives, negatives, ranked))

    def _draw_cuda(self, seed: int, epoch: int) -> tuple[Tensor, ...]:
        generator = torch.Generator(self._device)
        generator.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> 1))
        order = torch.randperm(self._pairs.shape[1], generator=generator, device=self._device)
        users, positives = self._pairs[:, order]
        uniform = torch.rand(len(users), generator=generator, device=self._device, dtype=torch.float64)
        ranks = (uniform * self._missing[users]).long()
        found = torch.searchsorted(self._keys, users * (self._n_items + 1) + ranks, right=True)
        negatives = ranks + found - self._starts[users]
        ranked = self._ranked[torch.randperm(len(self._ranked), generator=generator, device=self._device)]
        return users, positives, negatives, ranked
