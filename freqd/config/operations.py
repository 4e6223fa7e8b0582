"""Settings of what happens around the models: registry, drift, warm starts, serving, cadence."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from pydantic import Field, field_validator

from freqd.config.base import Fraction, Settings


class RegistryConfig(Settings):
    """The gate between a trained student and production."""

    model_name: str | None = Field(
        None,
        pattern=r"^[^/\\:.\s\x00-\x1f][^/\\:\x00-\x1f]{0,199}$",
        description="Name in the registry, without / and :; default freqd-<data>.",
    )
    enabled: bool = Field(True, description="Register the student and run the gate.")
    refit: Literal["all", "none"] = Field(
        "all",
        description="all: once the student is judged, teacher and student are trained again on all interactions, validation and test "
        "too, with what was chosen, and that student is registered; not under protocol kd-paper, nor in a backfill. none: the judged student is.",
    )
    margin: float = Field(
        0.0,
        description="The challenger's NDCG@10 minus the champion's must exceed this at the lower end of the interval.",
    )
    max_bytes: int | None = Field(None, ge=1, description="Guardrail: size of the model's features.")
    max_latency_ms: float | None = Field(None, gt=0.0, description="Guardrail: median milliseconds to score one user.")
    min_coverage_ratio: float | None = Field(
        0.8,
        ge=0.0,
        description="Guardrail: item coverage@10 at least this share of the champion's; none switches it off, as every "
        "guardrail.",
    )
    max_popularity_ratio: float | None = Field(
        1.2,
        gt=0.0,
        description="Guardrail: mean popularity of the items recommended (their train interactions, first 10) at most this "
        "multiple of the champion's for the same test users. 1.2 lets pass what one good model differs from another by, "
        "at most +13 % on grocery, and stops a list of best-sellers.",
    )
    min_group_ratio: float | None = Field(
        0.8,
        ge=0.0,
        description="Guardrail: NDCG@10 of every group of users by activity at least this share of the champion's in the same "
        "group. 0.8 as for the coverage: a group's mean varies more by chance than the mean of all, which has to be better.",
    )
    min_group_users: int = Field(
        100,
        ge=1,
        description="A group with fewer test users decides nothing: of four groups of 30, the worst loses a fifth by chance in "
        "every third or fourth comparison.",
    )
    min_gap_closed: float | None = Field(
        None,
        description="Guardrail for a first champion: share of the gap scratch -> teacher that the student closes. Not applied where "
        "there is no gap.",
    )
    first_not_worse: bool = Field(
        True,
        description="A first champion must not be shown, by the paired interval, to be worse than the best other model of its size.",
    )
    same_family: bool = Field(
        False,
        description="true: the data are taken to be a later state of those that the champion was made of, without a check.",
    )
    min_known_share: Fraction = Field(
        0.5,
        description="Share of the champion's items, or of its users, that the data must hold to count as a later state of the same "
        "data.",
    )
    min_pair_share: Fraction = Field(
        0.5,
        description="Share of the champion's interactions in the time that both have which the data must hold to count as a later "
        "state of the same data.",
    )
    candidate: Literal["student", "baseline"] = Field(
        "student",
        description="What is registered: the distilled student, or the no-distillation baseline, where distillation has nothing to add. "
        "In a second run of the same settings all but the registration comes from the cache. The baseline is not refitted.",
    )
    approval: Literal["none", "ask"] = Field(
        "none",
        description="ask: where the gate says yes, a question on the Prefect page waits for a person to say yes or no.",
    )
    approval_hours: float = Field(
        24.0, gt=0.0, le=720.0, description="How long an approval is waited for; without an answer nothing is promoted."
    )

    @field_validator(
        "max_bytes", "max_latency_ms", "min_coverage_ratio", "max_popularity_ratio", "min_group_ratio", "min_gap_closed",
        mode="before",
    )  # fmt: skip
    @classmethod
    def _switched_off(cls, limit: Any) -> Any:
        """A guardrail is switched off by the word none, since TOML has no null."""
        return None if limit == "none" else limit


class DriftConfig(Settings):
    """When new interactions count as drift away from those that the champion was made of."""

    since: date | None = Field(
        None, description="Only interactions from this day on (UTC); default: those later than the champion's latest."
    )
    min_interactions: int = Field(
        500, ge=10, description="With fewer new interactions than this only their volume is judged."
    )
    max_volume_ratio: float = Field(
        2.0, gt=1.0, description="Interactions a day, new against before: drift above this, or below 1 over this."
    )
    max_unknown_users: float = Field(
        0.3, ge=0.0, le=1.0, description="Share of the new interactions that are of users the champion does not know."
    )
    max_unknown_items: float = Field(
        0.3, ge=0.0, le=1.0, description="Share of the new interactions that are with items the champion does not know."
    )
    max_popularity_psi: float = Field(
        0.25, gt=0.0, description="Population stability index over ten groups of items by popularity."
    )
    max_popularity_ks: float = Field(
        0.15, gt=0.0, le=1.0, description="Kolmogorov-Smirnov distance over the items in the order of popularity."
    )
    max_spectral_loss: float = Field(
        0.5,
        gt=0.0,
        description="Share of the likeness of neighbours, seen in the champion's features, that the graph of the new "
        "interactions has lost: 0 as before, 1 as between strangers.",
    )
    retrain: bool = Field(True, description="On drift emit the event that starts a retraining.")
    cooldown_hours: float = Field(
        72.0, ge=0.0, le=8760.0, description="After such an event no other one is emitted for this long."
    )


class StartConfig(Settings):
    """Where a run's trainings start: from scratch, or from the models of an earlier run."""

    run: str = Field(
        "none",
        min_length=1,
        description="none; champion: the run that the registered champion came from, from scratch if there is none yet; "
        "or the name of a run. An ALS teacher and the student go on from there; new users and items are filled in. "
        "`freqd compare`, `tune` and `cadence` take no notice of it.",
    )
    required: bool = Field(
        True,
        description="true: a run that was named is refused where it does not fit the data; false: the new run then starts "
        "from scratch and says why, as it does with a champion that does not fit.",
    )
    sweeps: int = Field(
        8,
        ge=1,
        le=500,
        description="Warm start: maximum number of further sweeps of the earlier ALS teacher; patience ends them early.",
    )
    tolerance: float = Field(
        0.1,
        ge=0.0,
        le=1.0,
        description="Share by which its validation NDCG@10 may be below what it was in its own run; beyond that the "
        "teacher is searched for as in a run from scratch, and the better one is taken.",
    )
    epochs: int = Field(
        12, ge=1, le=100_000, description="Epochs of the student at the most, if fewer than distill.epochs."
    )
    eval_every: int = Field(
        2, ge=1, description="Epochs of the student between two validations, if fewer than distill.eval_every."
    )
    patience: int = Field(
        2,
        ge=1,
        description="Validations of the student without a better NDCG@10 before it stops, if fewer than distill.patience.",
    )


class IndexConfig(Settings):
    """How the best of many items are found: by `rce` for its lists, and by `freqd recommend`. `freqd serve` has options for it."""

    kind: Literal["auto", "exact", "faiss"] = Field(
        "auto",
        description="exact: all items are scored for each user; faiss: an index, always; auto: an index from "
        "`min_items` on, if faiss is installed (the extra freqd[index]). Models that are no pair of tables are always exact.",
    )
    min_items: int = Field(500_000, ge=1, description="Items from which on `auto` takes an index.")
    recall: float = Field(
        0.98, gt=0.0, le=1.0, description="Share of the exact top 20 that the index has to find, on users of the model."
    )


BY_SIZE = IndexConfig()
"""An index where there are very many items."""


class EngineConfig(Settings):
    """Where the trainings run, and how many of them beside each other; no part of any result."""

    kind: Literal["local", "ray"] = Field(
        "local", description="local: on this machine; ray: on a cluster of Ray, which needs the extra freqd[ray]."
    )
    address: str = Field(
        "auto",
        min_length=1,
        description="Ray: HOST:PORT of the head node; auto: the cluster that this machine is a part of.",
    )
    workers: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Trainings beside each other in compare, cadence and tune, and the stages of a run that do not need each other. Local: "
        "processes that share `threads`, default 1. Ray: default as many as the cluster has CPUs, a thread each.",
    )
    retries: int = Field(2, ge=0, le=100, description="Ray: how often work that was lost with its node is done again.")


class CadenceConfig(Settings):
    """How `freqd cadence` cuts the data in time."""

    windows: int = Field(
        5,
        ge=2,
        le=60,
        description="Windows at the end of the data; a model is trained before each, and judged on all that come after it.",
    )
    period_days: int | None = Field(
        None,
        ge=1,
        le=3660,
        description="Days of a window; default: what follows the first `history` of the interactions, in equal windows.",
    )
    refit: bool = Field(
        False,
        description="Also train each full model again on all its interactions, as `registry.refit` does, and hold it against the judged "
        "student and a plain ALS of its size on the next window.",
    )
    history: Fraction = Field(
        0.5, description="Share of the interactions before the first window, where period_days is not set."
    )
