"""What shapes a stage's result, and what the store remembers of it, so that it is found and shown again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from freqd.json_types import JsonObject
from freqd.storage.files import text_digest
from freqd.storage.store import ArtifactRef, Store
from tasks.runtime.page import Shown


@dataclass(frozen=True)
class Shape:
    """All that shapes a result.

    Attributes:
        stage: its name.
        inputs: digests of the artifacts among the arguments.
        settings: all other arguments, by name.
        code: digest of the syntax trees.
    """

    stage: str
    inputs: Mapping[str, str]
    settings: Mapping[str, object]
    code: str

    @cached_property
    def key(self) -> str:
        """Of the result."""
        return text_digest(json.dumps(self.as_dict(), sort_keys=True, default=str))

    def as_dict(self) -> dict[str, object]:
        """By name, as the key and the manifest have it."""
        return {"stage": self.stage, "inputs": self.inputs, "settings": self.settings, "code": self.code}


class StageEntry(BaseModel):
    """A stage's result; a field with a default is one that entries of earlier versions lack.

    Attributes:
        refs: its artifacts by name.
        headline: the result in one line.
        metrics: final numbers for MLflow.
        series: learning curve, one entry a validation.
        shown: tables and texts for the Prefect page.
        lines: what else the console tells.
        seconds, peak_bytes: what the computation took.
        run: name of the run that computed it.
    """

    model_config = ConfigDict(frozen=True)

    refs: dict[str, ArtifactRef]
    headline: str
    metrics: dict[str, float | int | None]
    series: list[JsonObject]
    shown: list[Shown] = []
    lines: list[str] = []
    seconds: float
    peak_bytes: int
    run: str

    @classmethod
    def recall(cls, store: Store, stage: str, key: str) -> Self | None:
        """The entry of this key, or None; one that cannot be read counts as none."""
        found = store.recall(stage, key)
        try:
            return None if found is None else cls.model_validate(found)
        except ValidationError:
            return None

    def record(self, store: Store, stage: str, key: str) -> None:
        """Keep it under this key."""
        store.record(stage, key, self.model_dump())


class Without:
    """In an annotation: fields of a settings argument that do not shape the result."""

    def __init__(self, *fields: str) -> None:
        self.fields = set(fields)

    def dump(self, value: BaseModel) -> JsonObject:
        """The fields that do."""
        return value.model_dump(mode="json", exclude=self.fields)


class Only(Without):
    """In an annotation: the only fields of a settings argument that shape the result."""

    def dump(self, value: BaseModel) -> JsonObject:
        """These fields."""
        return value.model_dump(mode="json", include=self.fields)
