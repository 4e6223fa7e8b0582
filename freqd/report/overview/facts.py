"""What an operator wants to know of a working directory, in types."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict


class Facts(BaseModel):
    """A part of the overview, which never changes."""

    model_config = ConfigDict(frozen=True)


class VersionFacts(Facts):
    """A registered version.

    Attributes:
        created: when it was registered.
        run: name of its run.
        verdict, why: of the gate, or of who decided after it.
        ndcg_at_10, low, high: on the test split of its own run, with the interval; None if not known.
        gap_closed: share of the gap between the small models and the teacher; None if there was none.
        n_bytes: of what is served; None if not known.
        data: digest of its split: numbers of different data are not comparable.
        address: of its run's page; empty if there is none.
    """

    version: str
    created: datetime
    run: str
    verdict: str
    why: str
    ndcg_at_10: float | None
    low: float | None
    high: float | None
    gap_closed: float | None
    n_bytes: int | None
    data: str
    address: str


class MoveFacts(Facts):
    """A move of the champion, as the audit trail has it."""

    time: datetime
    who: str
    what: str
    version: str
    why: str


class DriftFacts(Facts):
    """A drift check.

    Attributes:
        found: whether there was drift.
        worst: the greatest measure as a share of its limit, above 1 if and only if one was over its limit; None if nothing was measured.
    """

    time: datetime
    version: str
    headline: str
    outcome: str
    found: bool
    worst: float | None


class ChampionFacts(Facts):
    """Which version is served, since when and by whom."""

    version: VersionFacts
    since: datetime | None
    by: str


class ModelFacts(Facts):
    """A registered model: its champion, its versions from the latest to the first, and what happened to it, the latest first."""

    name: str
    champion: ChampionFacts | None
    versions: tuple[VersionFacts, ...]
    moves: tuple[MoveFacts, ...]
    drift: tuple[DriftFacts, ...]


class RunFacts(Facts):
    """A run of the main job.

    Attributes:
        state: finished, failed, killed or running.
        decision, why: what came of it.
        address: of its page; empty if there is none.
    """

    name: str
    started: datetime
    seconds: float | None
    state: str
    decision: str
    why: str
    address: str


class ScheduleFacts(Facts):
    """A schedule; ``next`` is None if it is paused."""

    name: str
    does: str
    cron: str
    next: datetime | None


class ServerFacts(Facts):
    """A process of the working directory's servers."""

    name: str
    pid: int | None
    state: str
    address: str
    memory_bytes: int

    @property
    def well(self) -> bool:
        """Whether it lives and answers."""
        return self.state == "healthy"


class Disk(Facts):
    """Bytes of the working directory, and those that are free beside it."""

    used: int
    free: int


class Overview(Facts):
    """All of it, at one moment.

    Attributes:
        schedules: None while the Prefect server is down.
        trouble: what could not be asked, in words.
        links: pages of the servers, by label.
    """

    time: datetime
    workdir: str
    models: tuple[ModelFacts, ...]
    runs: tuple[RunFacts, ...]
    schedules: tuple[ScheduleFacts, ...] | None
    disk: Disk
    servers: tuple[ServerFacts, ...]
    trouble: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()

    @property
    def well(self) -> bool:
        """Whether the servers are up and all of them answer."""
        return not self.trouble and bool(self.servers) and all(server.well for server in self.servers)
