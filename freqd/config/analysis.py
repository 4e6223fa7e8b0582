"""Settings of graphs, spectral analysis and evaluation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from freqd.config.base import Fraction, Settings


class GraphConfig(Settings):
    """The graphs of users and of items on which features are seen as signals."""

    kind: Literal["cooccurrence", "features", "bipartite"] = Field(
        "cooccurrence",
        description="cooccurrence: kNN by shared interactions; features: kNN by the teacher's features (cosine); "
        "bipartite: the user-item graph itself.",
    )
    user_neighbours: int = Field(10, ge=1, le=1000, description="K of the users' kNN graph.")
    item_neighbours: int = Field(10, ge=1, le=1000, description="K of the items' kNN graph.")


class SpectralConfig(Settings):
    """How the teacher is analysed by graph frequency, and how the distillation filter is chosen."""

    bands: int = Field(8, ge=2, le=64, description="Number of frequency bands on [0, 2].")
    method: Literal["auto", "exact", "chebyshev"] = Field(
        "auto", description="exact: dense eigendecomposition; chebyshev: polynomial filters; auto: by size."
    )
    exact_below: int = Field(2000, ge=2, le=20_000, description="auto: exact up to this many nodes.")
    degree: int = Field(64, ge=8, le=1000, description="Degree of the Chebyshev band filters.")
    probes: int = Field(16, ge=1, le=512, description="Random vectors of the density of states.")
    filter: Literal["auto", "identity", "linear", "quadratic"] = Field(
        "auto", description="Form of the distillation filter; auto: chosen per side by validation NDCG@10."
    )
    alpha: float = Field(
        0.2,
        ge=-1.0,
        le=1.0,
        description="Strength of a fixed filter, h(λ) = 1 − αλ or (1 − αλ)²; above 1/2 high frequencies gain weight again, "
        "below 0 the filter is a high-pass.",
    )
    alphas: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = Field(
        (0.1, 0.2, 0.3, 0.4, 0.5), description="auto: strengths that are tried, as low-pass and as high-pass."
    )
    band_weights: bool = Field(
        True, description="auto: also try filters with per-band weights, fitted to the ranking on validation."
    )
    weights_degree: int = Field(16, ge=1, le=200, description="Degree of the polynomials that follow such weights.")
    min_gain: float = Field(
        0.005, ge=0.0, description="auto: relative gain in validation NDCG@10 below which the identity is kept."
    )
    min_errors: float = Field(
        2.0,
        ge=0.0,
        le=10.0,
        description="auto: standard errors, over the validation users, that a gain must have; below it the identity is kept.",
    )


class EvaluateConfig(Settings):
    """How rankings are judged. Always against all items, never against sampled negatives."""

    protocol: Literal["standard", "kd-paper"] = Field(
        "standard",
        description="standard: train and validation items masked, mean over users with a test item. "
        "kd-paper: only train items masked, mean over all users, empty ones count 0.",
    )
    ks: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(
        (10, 20), min_length=1, description="Cut-offs of the metrics; NDCG@10 and recall@10 are always there."
    )
    users: int | None = Field(
        None,
        ge=100,
        description="At most as many test users are judged, the same random ones in every evaluation of the same data; the intervals "
        "are as wide as that makes them. Coverage and diversity are then those of fewer lists. Default: all of them.",
    )
    bootstrap_samples: int = Field(
        2000, ge=100, le=100_000, description="Resamples of the paired bootstrap over users."
    )
    confidence: Fraction = Field(0.95, description="Level of the intervals.")
