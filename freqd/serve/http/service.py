"""The model that is served, and the watch over the alias that says which one that is."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import freqd
from freqd.config import IndexConfig
from freqd.serve.http.messages import Health, Recommendation, scored
from freqd.serve.http.metrics import Metrics
from freqd.serve.recommender import Lists, Recommender

MAX_ECHO = 20
"""Ids of a question that an answer repeats because the model does not know them."""
REGISTRY_SECONDS = 5.0
"""How long the registry may take to say which version an alias points at."""
LONGEST_WAIT = 300.0
"""Seconds after which a broken version is tried again at the latest."""


class ModelSource(Protocol):
    """Where models come from: a registered model, or a run, which has no alias."""

    @property
    def name(self) -> str:
        """Of the registered model, or of the run."""
        ...

    @property
    def alias(self) -> str | None:
        """Which of the model's versions is served."""
        ...

    def version(self) -> str:
        """The version to serve at this moment."""
        ...

    def load(self, version: str) -> Recommender:
        """That version, checked."""
        ...


@dataclass(frozen=True)
class Model:
    """What answers: a version and its recommender."""

    version: str
    recommender: Recommender


@dataclass
class Rejected:
    """A version that is not served because it is broken."""

    version: str
    reason: str
    tries: int = 1
    retry_at: float = 0.0


@dataclass
class Service:
    """The model that is served, and the watch over its alias.

    Attributes:
        source: where models come from.
        model: the one that answers; replaced as a whole.
        poll_seconds: between two checks of the alias.
        rejected: the version that the alias points at, if it is broken.
        index: whether new models get an index.
        say: called with one line that says what a new model answers with.
        registry_error: why the registry did not answer when last asked.
        metrics: what Prometheus gets; a service beside another one shares that one's.
        leads: whether the metrics tell of this one's model.
    """

    source: ModelSource
    model: Model
    poll_seconds: float = 3.0
    index: IndexConfig = field(default_factory=IndexConfig)
    say: Callable[[str], None] = lambda text: None
    rejected: Rejected | None = None
    registry_error: str | None = None
    metrics: Metrics = field(default_factory=Metrics)
    leads: bool = True
    _asked: asyncio.Future[str] | None = None

    def __post_init__(self) -> None:
        self._take(self.model)
        if self.leads:
            self.metrics.broken.set(0)
            self.metrics.registry_up.set(1)

    # -- answers ----------------------------------------------------------------------------------

    def recommend(self, model: Model, user: str | None, lists: Lists, *, k: int, exclude_seen: bool) -> Recommendation:
        """The answer of ``model``, which the request took once, for one user; arguments as in ``Recommender.answer``."""
        answer = model.recommender.answer(user, lists, k=k, exclude_seen=exclude_seen)
        self.metrics.answers.labels(answer.source).inc()
        self.metrics.versions.labels(model.version).inc()
        unknown = answer.unknown_items[:MAX_ECHO]
        return Recommendation(user, answer.source, scored(answer), self.source.name, model.version, unknown)

    def status(self) -> str:
        """``ok``, or ``degraded`` while not all is well with the alias."""
        return "ok" if self.rejected is None and self.registry_error is None else "degraded"

    def health(self) -> Health:
        """What is served, and what stands in the way of the newest version."""
        model, rejected = self.model, self.rejected
        index = model.recommender.index.approximate
        return Health(
            status=self.status(),
            model=self.source.name,
            alias=self.source.alias,
            version=model.version,
            users=len(model.recommender.user_ids),
            items=len(model.recommender.item_ids),
            dim=model.recommender.features.dim,
            freqd=freqd.__version__,
            index="exact" if index is None else "faiss",
            index_recall=None if index is None else round(index.recall, 4),
            index_build_seconds=None if index is None else round(index.seconds, 2),
            rejected_version=None if rejected is None else rejected.version,
            rejected_reason=None if rejected is None else rejected.reason,
            registry_error=self.registry_error,
        )

    # -- the alias --------------------------------------------------------------------------------

    async def follow(self) -> None:
        """Check the alias forever."""
        while True:
            await asyncio.sleep(self.poll_seconds)
            await self.look()

    async def look(self) -> None:
        """Take over the version that the alias points at, if it is another one and whole."""
        try:
            version = await self._ask_registry()
        except Exception as error:  # a registry that is away for a while must not stop the service
            self.registry_error = _without_places(f"{type(error).__name__}: {error}".splitlines()[0])
            if self.leads:
                self.metrics.registry_up.set(0)
            return
        self.registry_error = None
        if self.leads:
            self.metrics.registry_up.set(1)
        if version == self.model.version:
            self._reject(None)
            return
        last = self.rejected if self.rejected is not None and self.rejected.version == version else None
        if last is not None and time.monotonic() < last.retry_at:
            return
        try:
            recommender = await asyncio.to_thread(self._load, version)
        except Exception as error:  # the same: whatever it is, the present model goes on
            tries = 1 if last is None else last.tries + 1
            wait = min(self.poll_seconds * 2**tries, LONGEST_WAIT)
            self._reject(Rejected(version, _without_places(str(error)), tries, time.monotonic() + wait))
            return
        self._take(Model(version, recommender))
        self.metrics.swaps.inc()
        self._reject(None)

    async def _ask_registry(self) -> str:
        """The version that the alias points at; one question at a time, for one that hangs goes on in its thread.

        Raises:
            TimeoutError: the registry does not answer.
        """
        if self._asked is None or self._asked.done():
            self._asked = asyncio.ensure_future(asyncio.to_thread(self.source.version))
        try:
            return await asyncio.wait_for(asyncio.shield(self._asked), REGISTRY_SECONDS)
        except TimeoutError:
            raise TimeoutError(f"the registry does not answer within {REGISTRY_SECONDS:g} s") from None

    def _load(self, version: str) -> Recommender:
        """Load a version and touch everything that the first request would have to build."""
        recommender = self.source.load(version)
        self.say(f"version {version}: {warm_up(recommender, self.index)}")
        return recommender

    def _take(self, model: Model) -> None:
        self.model = model
        if not self.leads:
            return
        self.metrics.model.clear()
        self.metrics.model.labels(self.source.name, model.version).set(1)
        self.metrics.loaded.set_to_current_time()
        index = model.recommender.index.approximate
        self.metrics.recall.set(1.0 if index is None else index.recall)
        self.metrics.build.set(0.0 if index is None else index.seconds)

    def _reject(self, rejected: Rejected | None) -> None:
        self.rejected = rejected
        if self.leads:
            self.metrics.broken.set(rejected is not None)


@dataclass(frozen=True)
class Trial:
    """A challenger that answers a share of the users in the champion's place, always the same ones for one version.

    Attributes:
        service: of the challenger; its version stays as it is.
        share: of the users, in (0, 1).
    """

    service: Service
    share: float

    def takes(self, user: str | None, champion: str) -> bool:
        """Whether the challenger answers a user; somebody without an id gets the champion, and so does everybody if it is that."""
        version = self.service.model.version
        if user is None or version == champion:
            return False
        digest = hashlib.blake2b(f"{self.service.source.name}\0{version}\0{user}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") < self.share * 2**64


def warm_up(recommender: Recommender, config: IndexConfig) -> str:
    """Give a recommender its index if it is to have one, then answer one question of each kind.

    So what is computed once is computed before the first request.

    Returns:
        What it answers with, for a person.
    """
    recommender.index.put_into_cells(config)
    item = str(recommender.item_ids[0])
    recommender.ask(str(recommender.user_ids[0]), k=1)
    recommender.ask(history=[item], k=1)
    recommender.similar(item, k=1)
    if recommender.index.approximate is not None:
        return str(recommender.index.approximate)
    many = config.kind == "auto" and len(recommender.item_ids) >= config.min_items
    return 'exact; with `pip install "freqd[index]"` an index is built' if many else "exact"


def _without_places(text: str) -> str:
    """A text that may be shown to whoever asks: without paths and addresses of this machine."""
    return re.sub(r"[a-z+]+://[^\s'\"]+|(?<![\w.])/[^\s'\":,)]+", "…", text)
