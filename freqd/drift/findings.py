"""What a drift check finds, in types: made by the check, kept and shown by the task."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from freqd.drift.spectral import Side, SpectralShift


@dataclass(frozen=True)
class Measure:
    """One quantity of the check.

    Attributes:
        name: what is measured.
        value: None where the interactions do not suffice to measure it.
        limit: the value above which it is drift; for a ratio also 1 / limit, below which it is.
        over: whether it is beyond its limit.
        words: what was found, for the operator.
    """

    name: str
    value: float | None
    limit: float
    over: bool
    words: str


class Finding(BaseModel):
    """A part of what was found."""

    model_config = ConfigDict(frozen=True)


class NewInteractions(Finding):
    """The new interactions.

    Attributes:
        pairs: all of them; ``between_known`` between users and items that the model knows.
        unknown_users, unknown_items: how many different ones it does not know.
        passed_over: interactions that are known or too old.
        first, last: seconds since 1970 (UTC); None without times.
    """

    pairs: int
    between_known: int
    unknown_users: int
    unknown_items: int
    passed_over: int
    first: int | None
    last: int | None


class OwnInteractions(Finding):
    """The model's own interactions that they are compared with: how many, and their first and last second."""

    pairs: int
    first: int | None
    last: int | None


class Nodes(Finding):
    """Users or items in each of the two graphs."""

    before: int
    new: int


class Energy(Finding):
    """Shares of the features' energy by band, low to high frequency, on each of the two graphs."""

    before: list[float]
    new: list[float]


class Frequency(Finding):
    """Mean frequency of the features on each of the two graphs, and its mean and spread over graphs drawn by lot."""

    before: float
    new: float
    by_lot: float
    spread: float


class SideShift(Finding):
    """One side's features on the model's own graph and on that of the new interactions."""

    nodes: Nodes
    energy: Energy
    moved: float
    frequency: Frequency

    @classmethod
    def of(cls, shift: SpectralShift) -> SideShift:
        """As plain numbers."""
        return cls(
            nodes=Nodes(before=shift.nodes[0], new=shift.nodes[1]),
            energy=Energy(before=shift.before.tolist(), new=shift.after.tolist()),
            moved=shift.moved,
            frequency=Frequency(
                before=shift.frequency_before,
                new=shift.frequency_after,
                by_lot=shift.frequency_lot,
                spread=shift.spread,
            ),
        )


class Drift(Finding):
    """The outcome of a check.

    Attributes:
        measures: all of them, measured or not.
        new, compared_with: counts behind them.
        edges: (bands + 1,) of the bands on [0, 2].
        spectrum: by side; empty where there are too few interactions.
    """

    measures: tuple[Measure, ...]
    new: NewInteractions
    compared_with: OwnInteractions
    edges: list[float]
    spectrum: dict[Side, SideShift]

    @property
    def found(self) -> bool:
        """Whether any measure is beyond its limit."""
        return any(measure.over for measure in self.measures)

    @property
    def judged(self) -> bool:
        """Whether anything could be measured."""
        return any(measure.value is not None for measure in self.measures)

    def reasons(self) -> list[str]:
        """What is beyond its limit, in words."""
        return [f"{measure.name}: {measure.words}" for measure in self.measures if measure.over]

    def headline(self) -> str:
        """The outcome in one line."""
        if not self.new.pairs:
            return "nothing new"
        if not self.judged:
            return f"not judged: only {self.new.pairs:,} new interactions"
        over = [measure.name for measure in self.measures if measure.over]
        return f"drift in {', '.join(over)}" if over else "no drift"
