"""Polynomial filters h(L): weights of the frequencies, applied by sparse products and no eigenvector.

With L = I − Â and x = λ − 1 in [−1, 1]:

=========  =======================  ======================================
form       h(λ)                     applied to X
=========  =======================  ======================================
identity   1                        X
linear     1 − αλ                   (1 − α)·X + α·ÂX
quadratic  (1 − αλ)²                the linear filter twice
chebyshev  Σ_k c_k T_k(λ − 1)       T_{k+1} = 2(L − I)T_k − T_{k−1}
=========  =======================  ======================================

Source: Zhu & Zhang, KDD 2025 (linear); Hammond, Vandergheynst & Gribonval, 2011 (Chebyshev).
The weights h² of the linear and quadratic forms fall all the way over [0, 2] only while 0 <= α <= 1/2; above it the
highest frequencies gain weight again (α = 1: weight 1 at λ = 2). A negative α is a high-pass: the weights rise with λ.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy import sparse

from freqd.data.interactions import IdArray
from freqd.embeddings import Embeddings, FloatMatrix, side_by_side
from freqd.graph import Graphs
from freqd.scorer import Scorer, SumScorer
from freqd.spectral.chebyshev import split_bands

Form = Literal["identity", "linear", "quadratic", "chebyshev"]
FloatArray = npt.NDArray[np.float64]


class Filter(BaseModel):
    """One polynomial filter of the frequencies λ in [0, 2]; see the module for the forms.

    Attributes:
        alpha: strength in [−1, 1] of ``linear`` and ``quadratic``; 0 is the identity, below it a high-pass.
        coefficients: c_0, c_1, ... of ``chebyshev``.
        weights: one a band that a ``chebyshev`` filter follows, if it was fitted to them (``band_weights.py``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    form: Form = "identity"
    alpha: float = Field(0.0, ge=-1.0, le=1.0)
    coefficients: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Filter:
        if (self.form == "chebyshev") != bool(self.coefficients):
            raise ValueError("form 'chebyshev' and coefficients go together: give both or neither")
        if self.alpha and self.form not in ("linear", "quadratic"):
            raise ValueError(f"alpha {self.alpha} has no meaning for form {self.form!r}; leave it 0")
        if self.weights and self.form != "chebyshev":
            raise ValueError(f"weights of bands have no meaning for form {self.form!r}; leave them out")
        return self

    @property
    def is_identity(self) -> bool:
        """Whether h = 1 everywhere, so that nothing has to be computed."""
        return self.form == "identity" or (self.form in ("linear", "quadratic") and self.alpha == 0.0)

    @property
    def degree(self) -> int:
        """Degree of the polynomial: how many sparse products an application takes."""
        if self.is_identity:
            return 0
        return {"linear": 1, "quadratic": 2}.get(self.form, len(self.coefficients) - 1)

    def response(self, frequency: npt.ArrayLike) -> FloatArray:
        """h(λ) for each λ in [0, 2], float64."""
        lam = np.asarray(frequency, np.float64)
        if self.is_identity:
            return np.ones_like(lam)
        if self.form == "chebyshev":
            return np.asarray(np.polynomial.chebyshev.chebval(lam - 1.0, self.coefficients), np.float64)
        linear = 1.0 - self.alpha * lam
        return linear if self.form == "linear" else linear**2

    def apply(self, norm_adj: sparse.csr_array, signal: FloatMatrix, rows: IdArray | None = None) -> FloatMatrix:
        """h(L) X for every column of ``signal``; O(degree · nnz · d) time, a few times n · d memory.

        Args:
            norm_adj: Â, (n, n) symmetric float32 CSR.
            signal: X, (n, d) float32. The result is ``signal`` itself for the identity.
            rows: (k,) of which alone the result is wanted: others may be 0. None: all.

        Raises:
            ValueError: ``signal`` has another number of rows than the graph has nodes.
        """
        if len(signal) != norm_adj.shape[0]:
            raise ValueError(f"a signal of {len(signal)} rows does not fit a graph of {norm_adj.shape[0]} nodes")
        if self.is_identity:
            return signal
        if self.form == "chebyshev":
            _, parts = split_bands(norm_adj, signal, np.array([self.coefficients]), rows=rows)
            return next(parts) if rows is None else scattered(next(parts), rows, signal)
        result = signal
        for _ in range(self.degree - (rows is not None)):
            result = _lazy_step(norm_adj, result, self.alpha)
        if rows is None:
            return result
        last = np.float32(self.alpha) * (norm_adj[rows] @ result) + np.float32(1.0 - self.alpha) * result[rows]
        return scattered(last, rows, signal)

    def matrix(self, norm_adj: sparse.csr_array) -> sparse.csr_array:
        """h(L) itself as a sparse float32 CSR matrix, for filters of degree 1 at the most.

        Raises:
            ValueError: the degree is above 1: every two neighbours of a node would be an entry, and hubs have many.
        """
        if self.degree > 1 or self.form == "chebyshev":
            raise ValueError(f"h(L) of {self.label()} is not kept as a matrix: apply it instead")
        identity = sparse.eye_array(norm_adj.shape[0], dtype=np.float32, format="csr")
        result = sparse.csr_array(np.float32(1.0 - self.alpha) * identity + np.float32(self.alpha) * norm_adj)
        result.sort_indices()
        return result

    def label(self) -> str:
        """Short text for tables and figures."""
        if self.is_identity:
            return "identity"
        if self.weights:
            return f"per-band weights ({min(self.weights):.2f} to {max(self.weights):.2f})"
        if self.form == "chebyshev":
            return f"chebyshev degree {self.degree}"
        return f"{self.form} α={self.alpha:g}"


def scattered(some: FloatMatrix, rows: IdArray, like: FloatMatrix) -> FloatMatrix:
    """(n, d) with these rows; the others are 0, and take no memory until they are looked at."""
    whole = np.zeros_like(like)
    whole[rows] = some
    return whole


def _lazy_step(norm_adj: sparse.csr_array, signal: FloatMatrix, alpha: float) -> FloatMatrix:
    """(1 − α)·X + α·ÂX, float32."""
    result: FloatMatrix = norm_adj @ signal
    result *= np.float32(alpha)
    result += np.float32(1.0 - alpha) * signal
    return result


class SideFilters(BaseModel):
    """A filter for each side."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: Filter = Filter()
    item: Filter = Filter()


def apply_filters(
    features: Embeddings, graphs: Graphs, filters: SideFilters, users: IdArray | None = None
) -> Embeddings:
    """The table with h_u(L_u) applied to its users and h_i(L_i) to its items; with ``users`` only these of the users are wanted."""
    return Embeddings(
        users=filters.user.apply(graphs.user.norm_adj, features.users, users),
        items=filters.item.apply(graphs.item.norm_adj, features.items),
    )


def filtered_scorer(full: Scorer, table: Embeddings, filtered: Embeddings) -> Scorer:
    """A model that is no table, filtered: its scores, and what the filter changes of those of the table that comes near it.

    s' = s + (⟨t̃_u, t̃_i⟩ − ⟨t_u, t_i⟩), the difference as one table: of twice the numbers, or of as
    many where one side is not filtered.

    Args:
        full: gives s.
        table: t, the raw features.
        filtered: t̃, the filtered ones.
    """
    if filtered.users is table.users:
        difference = Embeddings(table.users, filtered.items - table.items)
    elif filtered.items is table.items:
        difference = Embeddings(filtered.users - table.users, table.items)
    else:
        difference = Embeddings(np.hstack([filtered.users, table.users]), np.hstack([filtered.items, -table.items]))
    parts = full if isinstance(full, SumScorer) else SumScorer((full,), (1.0,), (1.0,))
    return side_by_side(SumScorer((*parts.scorers, difference), (*parts.weights, 1.0), (*parts.spreads, 1.0)))
