"""How each version of a model does with its users, with intervals: click-through, hit rate, purchases."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict
from scipy.stats import norm

from freqd.evaluate.significance import Difference

CONFIDENCE = 0.95


class Share(BaseModel):
    """A share with its interval; None where there is nothing to divide by."""

    model_config = ConfigDict(frozen=True)

    value: float | None
    low: float | None
    high: float | None


class VersionOnline(BaseModel):
    """One version.

    Attributes:
        users: who were shown something of it.
        impressions: recommendations that were shown.
        clicks, purchases: impressions that were clicked, or bought.
        click_through, conversion: clicks and purchases by impressions; users count as a whole, for one user's clicks hang together.
        hit_rate: users with a click, of all users.
        unmatched: clicks and purchases of what was not reported as shown; they count nowhere.
    """

    model_config = ConfigDict(frozen=True)

    version: str
    users: int
    impressions: int
    clicks: int
    purchases: int
    click_through: Share
    conversion: Share
    hit_rate: Share
    unmatched: int
    first: int
    last: int


class OnlineResult(BaseModel):
    """All versions of a model, and how one does against another.

    Attributes:
        versions: by number.
        difference: click-through of ``challenger`` minus ``champion``'s; None unless both were shown.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    versions: tuple[VersionOnline, ...]
    champion: str | None
    challenger: str | None
    difference: Difference | None


def judge_online(events: pl.LazyFrame, model: str, champion: str | None, challenger: str | None) -> OnlineResult:
    """Judge every version of ``model`` by what its users did.

    A click or a purchase counts if the same user was shown the same item by the same version, at most once an impression.

    Args:
        events: as ``freqd.feedback.read_events`` gives them.
        model: name of the registered model.
        champion: the version that others are held against.
        challenger: the version that is held against it.
    """
    pair = ["version", "user", "item"]
    counts = (
        events.filter(pl.col("model") == model)
        .group_by(pair)
        .agg(
            *((pl.col("event") == kind).sum().alias(kind) for kind in ("impression", "click", "purchase")),
            pl.col("time").min().alias("first"),
            pl.col("time").max().alias("last"),
        )
        .with_columns(
            unmatched=(pl.col("click").cast(pl.Int64) - pl.col("impression")).clip(0)
            + (pl.col("purchase").cast(pl.Int64) - pl.col("impression")).clip(0),
            click=pl.min_horizontal("click", "impression"),
            purchase=pl.min_horizontal("purchase", "impression"),
        )
    )
    users = (
        counts.group_by("version", "user")
        .agg(
            pl.col("impression", "click", "purchase", "unmatched").sum(),
            pl.col("first").min(),
            pl.col("last").max(),
        )
        .collect()
    )
    moments = {str(key[0]): _Moments(frame) for key, frame in users.group_by("version")}
    versions = tuple(
        _version(name, found) for name, found in sorted(moments.items(), key=lambda entry: _order(entry[0]))
    )
    return OnlineResult(
        model=model,
        versions=versions,
        champion=champion,
        challenger=challenger,
        difference=_difference(moments, champion, challenger),
    )


class _Moments:
    """What intervals need of the users of one version, those without an impression aside."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.unmatched = int(frame["unmatched"].sum())
        self.first, self.last = int(frame["first"].min()), int(frame["last"].max())  # type: ignore[arg-type]
        self.shown = frame.filter(pl.col("impression") > 0)

    def ratio(self, of: str) -> tuple[float, float] | None:
        """Σ of / Σ impressions with its standard error over users; None without impressions.

        The error is that of a ratio of two sums over users, linearised (Cochran, Sampling Techniques, 6.3): users are drawn, not
        impressions.
        """
        n = len(self.shown)
        if n == 0:
            return None
        shown, had = (self.shown[name].to_numpy().astype(np.float64) for name in ("impression", of))
        ratio = float(had.sum() / shown.sum())
        if n == 1:
            return ratio, math.inf
        rest = had - ratio * shown
        return ratio, math.sqrt(n / (n - 1) * float(rest @ rest)) / float(shown.sum())


def _version(name: str, found: _Moments) -> VersionOnline:
    shown = found.shown
    return VersionOnline(
        version=name,
        users=len(shown),
        impressions=int(shown["impression"].sum()),
        clicks=int(shown["click"].sum()),
        purchases=int(shown["purchase"].sum()),
        click_through=_share(found.ratio("click")),
        conversion=_share(found.ratio("purchase")),
        hit_rate=wilson(int((shown["click"] > 0).sum()), len(shown)),
        unmatched=found.unmatched,
        first=found.first,
        last=found.last,
    )


def _share(found: tuple[float, float] | None) -> Share:
    if found is None:
        return Share(value=None, low=None, high=None)
    value, error = found
    reach = _z() * error
    return Share(value=value, low=max(0.0, value - reach), high=min(1.0, value + reach))


def wilson(hits: int, n: int, confidence: float = CONFIDENCE) -> Share:
    """A share of n with Wilson's interval, which is right for rare hits too."""
    if n == 0:
        return Share(value=None, low=None, high=None)
    z, p = _z(confidence), hits / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    reach = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Share(value=p, low=min(p, centre - reach), high=max(p, centre + reach))


def _difference(moments: Mapping[str, _Moments], champion: str | None, challenger: str | None) -> Difference | None:
    """The challenger's click-through minus the champion's; their users are drawn apart."""
    if champion is None or challenger is None or champion == challenger:
        return None
    found = [moments[name].ratio("click") if name in moments else None for name in (challenger, champion)]
    if found[0] is None or found[1] is None:
        return None
    mean, error = found[0][0] - found[1][0], math.hypot(found[0][1], found[1][1])
    if not math.isfinite(error):
        return Difference(mean, -1.0, 1.0, 1.0)
    reach = _z() * error
    p_value = 1.0 if error == 0 and mean == 0 else 0.0 if error == 0 else float(2 * norm.sf(abs(mean) / error))
    return Difference(mean, mean - reach, mean + reach, p_value)


def _z(confidence: float = CONFIDENCE) -> float:
    return float(norm.ppf((1 + confidence) / 2))


def _order(version: str) -> tuple[int, str]:
    return (int(version), "") if version.isdecimal() else (0, version)
