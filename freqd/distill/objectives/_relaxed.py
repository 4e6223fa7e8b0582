"""The relaxed ranking loss: order the interesting items, and keep the uninteresting ones below all of them."""

from __future__ import annotations

import torch
from torch import Tensor

_NEVER = -1e9
"""Score of a missing item: its exponential is 0, and unlike −inf it has a gradient."""


def relaxed_ranking_loss(interesting: Tensor, uninteresting: Tensor, there: Tensor, there_below: Tensor) -> Tensor:
    """Mean over interesting items k of −log [ e^{s_k} / (Σ_{i >= k} e^{s_i} + Σ_j e^{z_j}) ].

    The negative log-likelihood of Kang et al., CIKM 2020 (RRD), per item instead of per user so that a weight does not
    depend on the length of the lists.

    Args:
        interesting: s, (b, K), best first.
        uninteresting: z, (b, L), in no order.
        there: (b, K) which interesting items exist. there_below: (b, L) likewise.
    """
    above = interesting.masked_fill(~there, _NEVER)
    below = torch.logsumexp(uninteresting.masked_fill(~there_below, _NEVER), dim=1, keepdim=True)
    remaining = torch.logcumsumexp(above.flip(1), dim=1).flip(1)  # (b, K): log Σ_{i >= k}
    terms = (torch.logaddexp(remaining, below) - above).masked_fill(~there, 0.0)
    return terms.sum() / there.sum().clamp_min(1)
