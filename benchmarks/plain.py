"""Plain references: what a straightforward torch program does, to compare freqd's order of operations with.

They draw their batches from freqd's own sampler, so that only the step itself differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from freqd.distill.projectors import ProjectorKind, make_projector
from freqd.embeddings import Embeddings
from freqd.graph import Graphs
from freqd.models.lightgcn import bipartite_norm_adj
from freqd.spectral.filters import SideFilters
from freqd.training.sampling import Batch, Sampler

RANK_BLOCK = 1024
"""Users whose scores of all items are held at a time."""


class PlainStudent(nn.Module):
    """Two tables as dense parameters; Adam updates all rows in every step."""

    def __init__(self, n_users: int, n_items: int, dim: int) -> None:
        super().__init__()
        self.users = nn.Parameter(0.01 * torch.randn(n_users, dim, generator=torch.Generator().manual_seed(0)))
        self.items = nn.Parameter(0.01 * torch.randn(n_items, dim, generator=torch.Generator().manual_seed(1)))

    def bpr(self, batch: Batch) -> Tensor:
        """Mean BPR loss of the batch."""
        difference = self.items[batch.positives] - self.items[batch.negatives]
        return nn.functional.softplus(-(self.users[batch.users] * difference).sum(1)).mean()


def batches(train: sparse.csr_array, batch_size: int) -> tuple[Iterator[Batch], int]:
    """Batches without end, and how many make an epoch."""
    sampler = Sampler(train, batch_size, torch.device("cpu"))

    def endless() -> Iterator[Batch]:
        epoch = 0
        while True:
            epoch += 1
            yield from sampler.epoch(0, epoch)

    return endless(), sampler.n_steps


def published_freqd(
    train: sparse.csr_array,
    teacher: Embeddings,
    graphs: Graphs,
    filters: SideFilters,
    *,
    dim: int,
    projector: ProjectorKind,
    batch_size: int,
) -> tuple[Callable[[], None], int]:
    """One training step of FreqD in the published order, and how many steps make an epoch.

    Of each side *all* n rows of the student are projected to the teacher's D numbers, *all* n projected rows are
    filtered by (1 − α)·X + α·Â X, and only then the batch's rows are kept. Kinder than the published program in two
    points: positive and negative items share one projection, and the teacher is filtered once, before training.
    """
    student = PlainStudent(*train.shape, dim)
    sides = []
    for number, (table, graph, filter) in enumerate(
        ((teacher.users, graphs.user, filters.user), (teacher.items, graphs.item, filters.item))
    ):
        target = torch.from_numpy(filter.apply(graph.norm_adj, table))
        coo = graph.norm_adj.tocoo()
        places = torch.from_numpy(np.stack([coo.row, coo.col]).astype(np.int64))
        norm_adj = torch.sparse_coo_tensor(places, torch.from_numpy(coo.data), coo.shape, check_invariants=False)
        norm_adj = norm_adj.coalesce()
        generator = torch.Generator().manual_seed(number)
        sides.append(
            (target, norm_adj, filter.alpha, make_projector(projector, dim, table.shape[1], generator=generator))
        )
    parameters = [*student.parameters(), *(p for *_, module in sides for p in module.parameters())]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    source, n_steps = batches(train, batch_size)

    def unmatched(side: int, everything: Tensor, groups: tuple[Tensor, ...]) -> Tensor:
        target, norm_adj, alpha, module = sides[side]
        projected = module(everything)
        filtered = (1.0 - alpha) * projected + alpha * torch.sparse.mm(norm_adj, projected)
        losses = [(target[rows] - filtered[rows]).square().sum(1).mean() for rows in map(torch.unique, groups)]
        return torch.stack(losses).mean()

    def step() -> None:
        batch = next(source)
        loss = student.bpr(batch)
        loss = loss + 0.01 * unmatched(0, student.users, (batch.users,))
        loss = loss + 0.01 * unmatched(1, student.items, (batch.positives, batch.negatives))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step, n_steps


def ranking_distillation(
    train: sparse.csr_array,
    teacher: Embeddings,
    *,
    dim: int,
    top: int,
    student_top: int,
    random: int,
    batch_size: int,
) -> Callable[[], None]:
    """One epoch of ranking cross-entropy beside BPR, with the scores of the lists by plain indexing.

    The student's best items are looked up once an epoch by full scores and ``torch.topk``; the teacher's scores of the
    listed items are computed from its D numbers in every step.
    """
    n_users, n_items = train.shape
    student = PlainStudent(n_users, n_items, dim)
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-3)
    users, items = torch.from_numpy(teacher.users), torch.from_numpy(teacher.items)
    source, n_steps = batches(train, batch_size)
    teacher_top = _best(users, items, train, min(top, n_items))
    rng = torch.Generator().manual_seed(0)

    def epoch() -> None:
        with torch.no_grad():
            own_top = _best(student.users, student.items, train, min(student_top, n_items))
        drawn = torch.randint(0, n_items, (n_users, random), generator=rng)
        lists = torch.cat([teacher_top, own_top, drawn], dim=1)
        for _ in range(n_steps):
            batch = next(source)
            chosen = batch.rank_users
            listed = lists[chosen]  # (r, L)
            logits = torch.einsum("rd,rld->rl", users[chosen], items[listed])
            scores = torch.einsum("rd,rld->rl", student.users[chosen], student.items[listed])
            ranking = -(torch.softmax(logits, 1) * torch.log_softmax(scores, 1)).sum(1).mean()
            loss = student.bpr(batch) + ranking
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


def _best(users: Tensor, items: Tensor, train: sparse.csr_array, k: int) -> Tensor:
    found = []
    for first in range(0, len(users), RANK_BLOCK):
        scores = users[first : first + RANK_BLOCK] @ items.T
        seen = train[first : first + RANK_BLOCK].tocoo()
        scores[torch.from_numpy(seen.row.astype(np.int64)), torch.from_numpy(seen.col.astype(np.int64))] = -torch.inf
        found.append(scores.topk(k, dim=1).indices)
    return torch.cat(found)


def lightgcn(
    train: sparse.csr_array, pairs: sparse.csr_array, *, dim: int, layers: int, batch_size: int
) -> Callable[[], None]:
    """One pass over ``pairs`` of LightGCN on the graph of ``train``: propagation and autograd by torch."""
    n_users = train.shape[0]
    adjacency = bipartite_norm_adj(train).tocoo()
    places = torch.from_numpy(np.stack([adjacency.row, adjacency.col]).astype(np.int64))
    graph = torch.sparse_coo_tensor(
        places, torch.from_numpy(adjacency.data), adjacency.shape, check_invariants=False
    ).coalesce()
    rows = nn.Parameter(0.1 * torch.randn(adjacency.shape[0], dim, generator=torch.Generator().manual_seed(0)))
    optimizer = torch.optim.Adam([rows], lr=1e-3)
    source, n_steps = batches(pairs, batch_size)

    def epoch() -> None:
        for _ in range(n_steps):
            batch = next(source)
            layer, total = rows, rows
            for _ in range(layers):
                layer = torch.sparse.mm(graph, layer)
                total = total + layer
            final = total / (layers + 1)
            users, items = final[:n_users], final[n_users:]
            difference = items[batch.positives] - items[batch.negatives]
            loss = nn.functional.softplus(-(users[batch.users] * difference).sum(1)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch
