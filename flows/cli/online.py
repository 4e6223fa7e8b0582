"""`freqd online`: what users did with the recommendations of each version."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from flows.cli.options import DONE, Workdir, workspace_of
from flows.cli.output import AsJson, say, say_json, say_table
from freqd import numbers as fmt

if TYPE_CHECKING:
    from freqd.feedback import OnlineResult
    from freqd.feedback.online import Share
    from tasks.runtime.workspace import Workspace

MICROSECONDS_A_DAY = 86_400 * 10**6


def online(
    *,
    name: Annotated[str | None, Parameter(help="Registered model [the only one].")] = None,
    challenger: Annotated[
        str | None, Parameter(help="Version that is held against the champion [the one that was shown last].")
    ] = None,
    days: Annotated[float, Parameter(help="How far to look back.", validator=Number(gt=0.0))] = 30.0,
    as_json: AsJson = False,
    workdir: Workdir = None,
) -> int:
    """Compare versions by what users did: click-through, hit rate and purchases with 95 % intervals, champion against challenger.

    It rests on what was sent to POST /events of `freqd serve`. Versions differ by the time in which they were served, too; only the
    difference in the last line is of the time in which both were shown, as with --challenger-share there, which assigns users by chance.
    """
    found = look(workspace_of(workdir), name, days, challenger)
    if as_json:
        say_json(found.model_dump(mode="json"))
        return DONE
    if not found.versions:
        say(
            f"no events of {found.model} in the last {days:g} days; send them to POST /events of `freqd serve` (docs/serving.md)"
        )
        return DONE
    header = ("version", "users", "impressions", "click-through", "hit rate", "purchases", "unmatched")
    rows = [
        (
            f"{v.version}{_role(found, v.version)}",
            v.users,
            v.impressions,
            shown(v.click_through),
            shown(v.hit_rate),
            shown(v.conversion),
            v.unmatched,
        )
        for v in found.versions
    ]
    say_table(header, rows, optional=(6, 5))
    if (apart := found.difference) is not None:
        say()
        say(sentence(found, apart.mean, apart.low, apart.high))
    return DONE


def look(workspace: Workspace, name: str | None, days: float, challenger: str | None = None) -> OnlineResult:
    """The versions of a model as their users took them.

    Raises:
        InputError: there is no such model, or more than one and none is named.
    """
    import polars as pl

    from freqd.feedback import judge_online, read_events
    from tasks.mlops import registry
    from tasks.mlops.champion import use_registry

    use_registry(workspace)
    model = registry.resolve(name)
    since = time.time_ns() // 1000 - int(days * MICROSECONDS_A_DAY)
    champion = registry.champion_of(model)
    folder = workspace.events_of(model)
    parts = read_events(folder, lambda part: say(f"freqd: {part} is damaged and passed over"))
    return judge_online(
        (frame.filter(pl.col("time") >= since) for frame in parts),
        model,
        None if champion is None else str(champion.version),
        challenger,
    )


def sentence(found: OnlineResult, mean: float, low: float, high: float) -> str:
    """How the challenger does against the champion, and whether that is more than chance."""
    verdict = "better beyond chance" if low > 0 else "worse beyond chance" if high < 0 else "not told apart"
    points = f"{100 * mean:+.2f} ({100 * low:+.2f} to {100 * high:+.2f}) percentage points".replace("-", "−")
    return f"click-through of version {found.challenger} minus that of champion {found.champion}: {points}: {verdict}"


def _role(found: OnlineResult, version: str) -> str:
    return " (champion)" if version == found.champion else " (challenger)" if version == found.challenger else ""


def shown(share: Share) -> str:
    """A share in per cent with its interval."""
    if share.value is None:
        return fmt.MISSING
    return f"{fmt.percent(share.value, 2)} ({fmt.percent(share.low, 2)} to {fmt.percent(share.high, 2)})".replace(
        fmt.NBSP, " "
    )
