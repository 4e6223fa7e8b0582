"""How each version of a model does with its users, with intervals: click-through, hit rate, purchases."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict
from scipy.stats import norm

from freqd.evaluate.significance import Difference

CONFIDENCE = 0.95
PAIR = ("version", "user", "item")


class Share(BaseModel):
    """A share with its interval; None where there is nothing to divide by."""

    model_config = ConfigDict(frozen=True)

    value: float | None
    low: float | None
    high: float | None

    @property
    def ends(self) -> tuple[float, float, float] | None:
        """Value, low and high; None where there is none."""
        return (
            None if self.value is None or self.low is None or self.high is None else (self.value, self.low, self.high)
        )


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
        difference: click-through of ``challenger`` minus ``champion``'s while both were shown; None unless they were.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    versions: tuple[VersionOnline, ...]
    champion: str | None
    challenger: str | None
    difference: Difference | None


def judge_online(
    events: Iterable[pl.DataFrame], model: str, champion: str | None, challenger: str | None
) -> OnlineResult:
    """Judge every version of ``model`` by what its users did.

    A click or a purchase counts if the same user was shown the same item by the same version, at most once an impression. The
    difference is over the time in which both versions were shown, and over users who were shown one of them alone.

    Args:
        events: as ``freqd.feedback.read_events`` gives them.
        model: name of the registered model.
        champion: the version that others are held against.
        challenger: the version that is held against it; None for the one of the others that was shown last.
    """
    frames = [frame.filter(pl.col("model") == model).select(*PAIR, "event", "time") for frame in events]
    found = {name: _Moments(users) for name, users in _by_version(_counted(frames)).items()}
    if challenger is None:
        challenger = max((name for name in found if name != champion), key=lambda name: found[name].last, default=None)
    versions = tuple(_version(name, found[name]) for name in sorted(found, key=_order))
    return OnlineResult(
        model=model,
        versions=versions,
        champion=champion,
        challenger=challenger,
        difference=_difference(_side_by_side(frames, champion, challenger), champion, challenger),
    )


def _counted(frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Impressions, and what came of them, by version, user and item; part by part, so that no more is in memory than that."""
    kinds = ("impression", "click", "purchase")
    parts = [
        frame.group_by(PAIR).agg(
            *((pl.col("event") == kind).sum().cast(pl.Int64).alias(kind) for kind in kinds),
            pl.col("time").min().alias("first"),
            pl.col("time").max().alias("last"),
        )
        for frame in frames
    ]
    if not parts:
        return pl.DataFrame(
            schema={**dict.fromkeys(PAIR, pl.String), **dict.fromkeys((*kinds, "first", "last"), pl.Int64)}
        )
    together = pl.concat(parts).group_by(PAIR)
    return together.agg(pl.col(kinds).sum(), pl.col("first").min(), pl.col("last").max())


def _by_version(counts: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Sums by user, for each version."""
    shown = pl.col("impression")
    users = (
        counts.with_columns(
            unmatched=(pl.col("click") - shown).clip(0) + (pl.col("purchase") - shown).clip(0),
            click=pl.min_horizontal("click", "impression"),
            purchase=pl.min_horizontal("purchase", "impression"),
        )
        .group_by("version", "user")
        .agg(
            pl.col("impression", "click", "purchase", "unmatched").sum(),
            pl.col("first").min(),
            pl.col("last").max(),
        )
    )
    return {str(key[0]): frame for key, frame in users.group_by("version")}


def _side_by_side(frames: Sequence[pl.DataFrame], champion: str | None, challenger: str | None) -> dict[str, _Moments]:
    """The two versions while both were shown, without users who were shown both."""
    both = pl.col("version").is_in([champion or "", challenger or ""])
    pair = [frame.filter(both) for frame in frames]
    shown = [
        frame.filter(pl.col("event") == "impression").group_by("version").agg(pl.col("time").min()) for frame in pair
    ]
    starts = pl.concat(shown).group_by("version").agg(pl.col("time").min()) if shown else pl.DataFrame()
    if len(starts) < 2:
        return {}
    since = starts["time"].max()
    users = _by_version(_counted(frame.filter(pl.col("time") >= since) for frame in pair))
    return {
        name: _Moments(mine.join(pl.concat([f for n, f in users.items() if n != name]), on="user", how="anti"))
        for name, mine in users.items()
        if len(users) == 2
    }


class _Moments:
    """What intervals need of the users of one version, those without an impression aside."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.unmatched = int(frame["unmatched"].sum())
        self.first, self.last = (
            int(frame[name].sort()[place]) if len(frame) else 0 for name, place in (("first", 0), ("last", -1))
        )
        self.shown = frame.filter(pl.col("impression") > 0)

    def share(self, of: str) -> Share:
        """Σ of / Σ impressions with Wilson's interval for as many independent impressions as these are worth.

        Users are drawn, not impressions: the variance is that of a ratio of two sums over users, linearised (Cochran, Sampling
        Techniques, 6.3). Where no user differs from another, as before the first click, an impression is worth no more than its user.
        """
        n = len(self.shown)
        if n == 0:
            return Share(value=None, low=None, high=None)
        shown, had = (self.shown[name].to_numpy().astype(np.float64) for name in ("impression", of))
        ratio = float(had.sum() / shown.sum())
        rest = had - ratio * shown
        variance = n / (n - 1) * float(rest @ rest) / float(shown.sum()) ** 2 if n > 1 else 0.0
        worth = ratio * (1 - ratio) / variance if variance > 0.0 else 0.0
        return wilson(ratio, worth if worth >= 1.0 else float(n))


def _version(name: str, found: _Moments) -> VersionOnline:
    shown = found.shown
    return VersionOnline(
        version=name,
        users=len(shown),
        impressions=int(shown["impression"].sum()),
        clicks=int(shown["click"].sum()),
        purchases=int(shown["purchase"].sum()),
        click_through=found.share("click"),
        conversion=found.share("purchase"),
        hit_rate=_hit_rate(shown),
        unmatched=found.unmatched,
        first=found.first,
        last=found.last,
    )


def _hit_rate(shown: pl.DataFrame) -> Share:
    if shown.is_empty():
        return Share(value=None, low=None, high=None)
    return wilson(int((shown["click"] > 0).sum()) / len(shown), float(len(shown)))


def wilson(p: float, n: float, confidence: float = CONFIDENCE) -> Share:
    """A share ``p`` of ``n`` with Wilson's interval, which is right for rare hits too."""
    z = _z(confidence)
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    reach = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Share(value=p, low=max(0.0, min(p, centre - reach)), high=min(1.0, max(p, centre + reach)))


def _difference(found: Mapping[str, _Moments], champion: str | None, challenger: str | None) -> Difference | None:
    """The challenger's click-through minus the champion's, with Newcombe's interval of two of Wilson's (Statistics in Medicine 17, 1998)."""
    if champion is None or challenger is None or not {champion, challenger} <= set(found) or champion == challenger:
        return None
    new, old = found[challenger].share("click"), found[champion].share("click")
    if new.ends is None or old.ends is None:
        return None
    (value, lowest, highest), (theirs, least, most) = new.ends, old.ends
    mean = value - theirs
    low = mean - math.hypot(value - lowest, most - theirs)
    high = mean + math.hypot(highest - value, theirs - least)
    error = (mean - low if mean > 0 else high - mean) / _z()
    return Difference(mean, low, high, float(2 * norm.sf(abs(mean) / error)) if error > 0 else 1.0)


def _z(confidence: float = CONFIDENCE) -> float:
    return float(norm.ppf((1 + confidence) / 2))


def _order(version: str) -> tuple[int, str]:
    return (int(version), "") if version.isdecimal() else (0, version)
