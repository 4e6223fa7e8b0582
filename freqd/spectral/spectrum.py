"""What the spectral analysis found, and the filters that it chose."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from freqd.spectral.filters import SideFilters

FloatArray = npt.NDArray[np.float64]
_SIDE_ARRAYS = ("energies", "density", "importance_only", "importance_without", "part_energies")


@dataclass(frozen=True, eq=False)
class SideSpectrum:
    """One side's bands; every array is (bands,) float64.

    Attributes:
        method: exact eigenpairs, or Chebyshev band filters.
        energies: share of the teacher's energy ‖T‖² in each band; sums to 1.
        density: share of the graph's eigenvalues in each band; sums to 1.
        importance_only: validation NDCG@10 of the teacher with only that band of this side kept.
        importance_without: validation NDCG@10 of the teacher with only that band of this side removed.
        part_energies: ⟨T, part_b⟩ of the teacher's part in each band, not divided by ‖T‖²; what ``Mastery`` measures by.
    """

    method: Literal["exact", "chebyshev"]
    energies: FloatArray
    density: FloatArray
    importance_only: FloatArray
    importance_without: FloatArray
    part_energies: FloatArray

    def __repr__(self) -> str:
        return f"<SideSpectrum: {len(self.energies)} bands, {self.method}>"


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The teacher by graph frequency, and the filters of the distillation.

    Attributes:
        edges: (bands + 1,) float64 on [0, 2], shared by both sides.
        user, item: one side each.
        base_ndcg: validation NDCG@10 of the teacher's features as they are.
        trials: filters that were measured: ``side`` that was varied, its ``form``, ``alpha`` and ``weights``, ``other``
            (label of the other side's filter) and ``ndcg``.
        feature_candidates: filters of the feature-distillation loss to choose from, none first; only one if the user set it.
        ranking_filters: filters of the teacher that the ranking term learns from.
        reason: why these filters, in plain words, for the report.
        whole_ndcg: of a teacher that is more than its features its own validation NDCG@10, which the filtered teacher has to beat.
    """

    kind: ClassVar[str] = "spectrum"
    records: ClassVar[frozenset[str]] = frozenset()

    edges: FloatArray
    user: SideSpectrum
    item: SideSpectrum
    base_ndcg: float
    trials: list[dict[str, Any]]
    feature_candidates: tuple[SideFilters, ...]
    ranking_filters: SideFilters
    reason: str
    whole_ndcg: float | None = None

    def __repr__(self) -> str:
        chosen = self.ranking_filters
        return (
            f"<Spectrum: {len(self.edges) - 1} bands, teacher's validation NDCG@10 {self.base_ndcg:.4f}, "
            f"ranking filter: users {chosen.user.label()}, items {chosen.item.label()}>"
        )

    def write(self, folder: Path) -> None:
        """Write ``bands.npz`` and ``spectrum.json``."""
        arrays = {"edges": self.edges}
        for side, spectrum in (("user", self.user), ("item", self.item)):
            arrays |= {f"{side}_{name}": getattr(spectrum, name) for name in _SIDE_ARRAYS}
        np.savez(folder / "bands.npz", allow_pickle=False, **arrays)
        content = {
            "method": {"user": self.user.method, "item": self.item.method},
            "base_ndcg": self.base_ndcg,
            "trials": self.trials,
            "feature_candidates": [filters.model_dump() for filters in self.feature_candidates],
            "ranking_filters": self.ranking_filters.model_dump(),
            "reason": self.reason,
            **({} if self.whole_ndcg is None else {"whole_ndcg": self.whole_ndcg}),
        }
        (folder / "spectrum.json").write_text(json.dumps(content, indent=1))

    @classmethod
    def read(cls, folder: Path) -> Spectrum:
        """Read what ``write`` wrote."""
        content = json.loads((folder / "spectrum.json").read_text())
        with np.load(folder / "bands.npz", allow_pickle=False) as file:
            arrays = dict(file)

        def side(name: str) -> SideSpectrum:
            return SideSpectrum(content["method"][name], *(arrays[f"{name}_{array}"] for array in _SIDE_ARRAYS))

        return cls(
            edges=arrays["edges"],
            user=side("user"),
            item=side("item"),
            base_ndcg=content["base_ndcg"],
            trials=content["trials"],
            feature_candidates=tuple(map(SideFilters.model_validate, content["feature_candidates"])),
            ranking_filters=SideFilters.model_validate(content["ranking_filters"]),
            reason=content["reason"],
            whole_ndcg=content.get("whole_ndcg"),
        )
