"""Every setting of freqd, typed, in one place.

The same models are the command line's ``--set section.key=value``, the TOML file of ``--config``,
the form on the Prefect page and the table in docs/settings.md. They are frozen and refuse unknown keys.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]
Scalar = bool | int | float | str


class Settings(BaseModel):
    """Base of all settings: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Column = Annotated[int, Field(ge=1, le=10_000, strict=True)] | str | None


class ColumnConfig(Settings):
    """Which column of the user's files means what. Empty means: guess from the name, and show the guess."""

    user: Column = Field(
        None,
        union_mode="left_to_right",
        description="Column that holds the user (customer, household, session): its name, or its place from 1 in files "
        "without a header line.",
    )
    item: Column = Field(
        None, union_mode="left_to_right", description="Column that holds the item (product, article, film), likewise."
    )
    time: Column = Field(
        None, union_mode="left_to_right", description="Column that holds the time; 'none' ignores time even if present."
    )
    weight: Column = Field(
        None, union_mode="left_to_right", description="Column with a rating or a quantity; 'none' ignores it."
    )

    @property
    def by_position(self) -> bool:
        """Whether columns are named by their place, because the files have no header line."""
        return any(isinstance(value, int) for value in (self.user, self.item, self.time, self.weight))

    @model_validator(mode="after")
    def _consistent(self) -> ColumnConfig:
        if not self.by_position:
            return self
        if not (isinstance(self.user, int) and isinstance(self.item, int)):
            raise ValueError(
                "columns by their place: give both user and item as numbers, for example user = 1, item = 2"
            )
        for value in (self.time, self.weight):
            if isinstance(value, str) and value.lower() != "none":
                raise ValueError(f"columns by their place: {value!r} is a name; give its number, or none")
        return self


class DataConfig(Settings):
    """Where interactions come from, how they are cleaned and how they are split."""

    source: tuple[str, ...] = Field(
        ("grocery",),
        min_length=1,
        description="A named data set (see `freqd data list`), or one or more CSV, TSV or Parquet files.",
    )
    train: str | None = Field(None, description="File with the train part (with `test`, replaces `source`).")
    valid: str | None = Field(None, description="File with the validation part; without it one is cut off train.")
    test: str | None = Field(None, description="File with the test part.")
    sql: str | None = Field(None, description="A SELECT to run against `database_url` (replaces `source`).")
    database_url_env: str = Field(
        "FREQD_SOURCE_DATABASE_URL",
        description="Name of the environment variable that holds the PostgreSQL address of `sql`; "
        "the address itself is a secret and is never a setting.",
    )
    columns: ColumnConfig = ColumnConfig()
    layout: Literal["auto", "table", "adjacency"] = Field(
        "auto",
        description="Of text files. table: an interaction a line; adjacency: lines `user item item ...`; auto: by their first lines.",
    )
    quotes: Literal["auto", "fields", "plain"] = Field(
        "auto",
        description="Of text files. fields: quotes enclose fields; plain: they are characters like others (inch marks); auto: as "
        "the file itself says, and it is refused where it leaves that open.",
    )
    as_of: date | None = Field(None, description="Ignore every interaction after this day (UTC).")
    min_time: date = Field(
        date(1990, 1, 1), description="Times before this day (UTC) are taken for missing; they are counted and told."
    )
    max_time: date | None = Field(
        None,
        description="Times after this day (UTC) are taken for missing; they are counted and told. Default: tomorrow.",
    )
    min_weight: float | None = Field(
        None,
        description="Keep only interactions whose weight is at least this. Negative quantities are returns in most shops: 0 "
        "leaves them out.",
    )
    min_user_interactions: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="k-core: users with fewer distinct items are dropped (default 5; 1 for given parts).",
    )
    min_item_interactions: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="k-core: items with fewer distinct users are dropped (default 5; 1 for given parts).",
    )
    split: Literal["auto", "time", "random", "given"] = Field(
        "auto",
        description="time: one global cut; random: a share of every user's items; given: the data's own parts. "
        "auto: given if there are parts, else time if there is time, else random.",
    )
    valid_fraction: Fraction = Field(0.1, description="Share of the interactions for validation.")
    test_fraction: Fraction = Field(0.1, description="Share of the interactions for the test part.")

    @property
    def text_layout(self) -> Literal["table", "adjacency"] | None:
        """The layout of text files; None: by their first lines."""
        return None if self.layout == "auto" else self.layout

    def of(self, source: str) -> DataConfig:
        """These settings for another named data set or file."""
        return self.model_copy(update={"source": (source,), "train": None, "valid": None, "test": None, "sql": None})

    @model_validator(mode="after")
    def _consistent(self) -> DataConfig:
        if self.valid_fraction + self.test_fraction >= 1.0:
            raise ValueError(
                f"valid_fraction {self.valid_fraction} + test_fraction {self.test_fraction} leave nothing to train on; "
                "their sum must be below 1"
            )
        if (self.train is None) != (self.test is None):
            raise ValueError("train and test go together: give both files or neither")
        if self.valid is not None and self.train is None:
            raise ValueError("valid without train and test: give all of them")
        if self.max_time is not None and self.max_time < self.min_time:
            raise ValueError(f"max_time {self.max_time} is before min_time {self.min_time}: no time is left")
        return self


class GraphConfig(Settings):
    """The graphs of users and of items on which features are seen as signals."""

    kind: Literal["cooccurrence", "features", "bipartite"] = Field(
        "cooccurrence",
        description="cooccurrence: kNN by shared interactions; features: kNN by the teacher's features (cosine); "
        "bipartite: the user-item graph itself.",
    )
    user_neighbours: int = Field(10, ge=1, le=1000, description="K of the users' kNN graph.")
    item_neighbours: int = Field(10, ge=1, le=1000, description="K of the items' kNN graph.")


class TeacherConfig(Settings):
    """The big model whose ranking the student is to learn."""

    kind: Literal["als", "bpr", "lightgcn", "features"] = Field(
        "als",
        description="als: implicit-feedback ALS; bpr: matrix factorisation with BPR; lightgcn; features: bring your own.",
    )
    features: str | None = Field(
        None, description="Folder or file with the brought teacher's features (safetensors, npz or Parquet with ids)."
    )
    factors: tuple[Annotated[int, Field(ge=2, le=4096)], ...] = Field(
        (64, 256), min_length=1, description="Numbers a user and an item; several are searched on validation."
    )
    regularization: tuple[Annotated[float, Field(ge=0.0)], ...] = Field(
        (10.0, 50.0), min_length=1, description="ALS: L2 strength; several are searched on validation."
    )
    alpha: tuple[Annotated[float, Field(gt=0.0)], ...] = Field(
        (1.0, 10.0, 40.0),
        min_length=1,
        description="ALS: confidence of an interaction is 1 + alpha; several are searched.",
    )
    iterations: int = Field(12, ge=1, le=500, description="ALS: sweeps over users and items at the most.")
    search_seconds: float | None = Field(
        None,
        gt=0.0,
        le=1e7,
        description="Time budget of the search over the values above. Without it: none, so that the result does not depend on how "
        "busy the machine is.",
    )
    layers: int = Field(3, ge=1, le=8, description="LightGCN: propagation layers.")
    epochs: int = Field(300, ge=1, le=100_000, description="bpr, lightgcn: epochs at the most.")
    batch_size: int = Field(2048, ge=16, le=1_000_000, description="bpr, lightgcn: interactions a step.")
    learning_rate: float = Field(1e-3, gt=0.0, le=1.0, description="bpr, lightgcn: Adam's step size.")
    weight_decay: float = Field(1e-3, ge=0.0, le=1.0, description="bpr, lightgcn: L2 strength.")
    max_seconds: float | None = Field(
        None,
        gt=0.0,
        le=1e7,
        description="bpr, lightgcn: time budget of all their trainings; the best so far is kept. Without it: none.",
    )
    eval_every: int = Field(5, ge=1, description="bpr, lightgcn: epochs between two validations.")
    patience: int = Field(5, ge=1, description="Validations without a better NDCG@10 before training stops.")
    trajectory_points: int = Field(
        0,
        ge=0,
        le=100,
        description="Rankings (50 items a user) that are kept from evenly spaced sweeps or validations, for the "
        "objective hetcomp, which needs at least 2; 0 keeps none.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> TeacherConfig:
        if self.trajectory_points and self.kind == "features":
            raise ValueError("teacher.trajectory_points needs a teacher that is trained here, not brought features")
        if (self.kind == "features") != (self.features is not None):
            raise ValueError("teacher.kind = 'features' and teacher.features = PATH go together: give both or neither")
        return self


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
        True, description="auto: filters with one weight a band, fitted to the ranking on validation, are tried too."
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


class ObjectiveConfig(Settings):
    """One term of the distillation loss, by its name in the registry, with its weight and options."""

    name: str = Field(description="Name in the registry of objectives: see `freqd.distill.objectives`.")
    weight: float = Field(1.0, ge=0.0, description="Factor of this term in the loss.")
    options: dict[str, Scalar] = Field(default_factory=dict, description="Options of this objective.")


class MethodConfig(Settings):
    """One method of a comparison: its objectives and, if it does not share them with the others, its optimisation."""

    objectives: tuple[ObjectiveConfig, ...] = Field(description="Terms of the distillation loss.")
    learning_rate: float | None = Field(None, gt=0.0, le=1.0, description="Instead of distill.learning_rate.")
    weight_decay: float | None = Field(None, ge=0.0, le=1.0, description="Instead of distill.weight_decay.")


AutoEpochs = Literal["auto"] | Annotated[int, Field(ge=1, le=100_000)]


class DistillConfig(Settings):
    """The student and how it learns from the teacher."""

    backbone: Literal["mf", "lightgcn"] = Field("mf", description="The student's model.")
    layers: int = Field(2, ge=1, le=8, description="LightGCN student: propagation layers.")
    dim: int = Field(20, ge=1, le=1024, description="Numbers a user and an item of the student.")
    objectives: tuple[ObjectiveConfig, ...] = Field(
        (ObjectiveConfig(name="freqd", weight=0.01), ObjectiveConfig(name="rce", weight=1.0)),
        description="Terms of the distillation loss.",
    )
    base_weight: float = Field(1.0, ge=0.0, description="Factor of the student's own BPR loss.")
    warm_start: Literal["svd", "random"] = Field(
        "svd", description="svd: start at the best rank-d approximation of the teacher's scores; random."
    )
    init_std: float = Field(0.01, gt=0.0, le=1.0, description="Standard deviation of an MF student's random start.")
    baselines: bool = Field(
        True, description="Also train the student alone and compute the SVD student, for comparison."
    )
    epochs: AutoEpochs = Field(
        "auto",
        description="Epochs of the distilled student at the most; auto: as many as make 8,000 steps, but 20 to 60. The step "
        "size falls over these epochs, so fewer of them end sooner, not less finished.",
    )
    batch_size: int = Field(2048, ge=16, le=1_000_000, description="Interactions a step.")
    learning_rate: float = Field(
        1e-2, gt=0.0, le=1.0, description="Adam's step size of the distilled student, at the start."
    )
    decay: float = Field(
        1.0,
        ge=0.0,
        le=1.0,
        description="Share of a training of the student, at its end, over which the step size falls to 0; 0 keeps it.",
    )
    weight_decay: float = Field(0.0, ge=0.0, le=1.0, description="L2 strength of the distilled student.")
    scratch_learning_rate: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = Field(
        (2e-3,),
        min_length=1,
        description="Step sizes tried for the student trained alone; the best on validation counts.",
    )
    scratch_weight_decay: tuple[Annotated[float, Field(ge=0.0, le=1.0)], ...] = Field(
        (1e-3, 3e-2), min_length=1, description="L2 strengths tried for the student trained alone."
    )
    scratch_epochs: AutoEpochs = Field(
        "auto",
        description="Epochs at the most for the student trained alone; auto: as many as make 30,000 steps, but 100 to 300.",
    )
    eval_every: int = Field(4, ge=1, description="Epochs between two validations.")
    patience: int = Field(5, ge=1, description="Validations without a better NDCG@10 before training stops.")
    max_seconds: float | None = Field(
        None,
        gt=0.0,
        le=1e7,
        description="Time budget of the distillation, and as much for all trainings of the student alone together; "
        "the best so far is kept, and the report says so. Without it: none.",
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
    bootstrap_samples: int = Field(
        2000, ge=100, le=100_000, description="Resamples of the paired bootstrap over users."
    )
    confidence: Fraction = Field(0.95, description="Level of the intervals.")


class RegistryConfig(Settings):
    """The gate between a trained student and production."""

    model_name: str | None = Field(
        None,
        pattern=r"^[^/\\:.\s\x00-\x1f][^/\\:\x00-\x1f]{0,199}$",
        description="Name in the registry, without / and :; default freqd-<data>.",
    )
    enabled: bool = Field(True, description="Register the student and run the gate.")
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
        description="true: the data are taken to be a later state of those that the champion was made of, without a look.",
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
    approval: Literal["none", "ask"] = Field(
        "none",
        description="ask: where the gate says yes, the run waits on the Prefect page for a person to say yes or no.",
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
    """Where a run's trainings start: from nothing, or from the models of an earlier run."""

    run: str = Field(
        "none",
        min_length=1,
        description="none; champion: the run that the registered champion came from, from nothing if there is none yet; "
        "or the name of a run. An ALS teacher and the student go on from there; new users and items are filled in. "
        "`freqd compare`, `tune` and `cadence` take no notice of it.",
    )
    required: bool = Field(
        True,
        description="true: a run that was named is refused where it does not fit the data; false: the new run then starts "
        "from nothing and says why, as it does with a champion that does not fit.",
    )
    sweeps: int = Field(
        8,
        ge=1,
        le=500,
        description="Sweeps by which the earlier ALS teacher is carried on at the most; patience ends them early.",
    )
    tolerance: float = Field(
        0.1,
        ge=0.0,
        le=1.0,
        description="Share by which its validation NDCG@10 may be below what it was in its own run; beyond that the "
        "teacher is searched for as in a run from nothing, and the better one is taken.",
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
    """How `freqd serve` finds the best of many items; its options, no part of a run."""

    kind: Literal["auto", "exact", "faiss"] = Field(
        "auto",
        description="exact: all items are scored for each question; faiss: an index, always; auto: an index from "
        "`min_items` on, if faiss is installed.",
    )
    min_items: int = Field(1_000_000, ge=1, description="Items from which on `auto` takes an index.")
    recall: float = Field(
        0.98, gt=0.0, le=1.0, description="Share of the exact top 20 that the index has to find, on users of the model."
    )


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
        description="Days of a window; default: what follows the first `history` of the interactions, in equal parts.",
    )
    history: Fraction = Field(
        0.5, description="Share of the interactions before the first window, where period_days is not set."
    )


class RunConfig(Settings):
    """One run of freqd, from interactions to a registered student."""

    data: DataConfig = DataConfig()
    graph: GraphConfig = GraphConfig()
    teacher: TeacherConfig = TeacherConfig()
    spectral: SpectralConfig = SpectralConfig()
    distill: DistillConfig = DistillConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    registry: RegistryConfig = RegistryConfig()
    drift: DriftConfig = DriftConfig()
    start: StartConfig = StartConfig()
    cadence: CadenceConfig = CadenceConfig()
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of every random choice.")
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: a GPU if there is one, else the CPU."
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="CPU threads; default: all cores this process may use."
    )
    budget_minutes: float | None = Field(
        None,
        gt=0.0,
        le=1e5,
        description="Time budget of the run: shortens the budgets of teacher, distillation and the student alone, "
        "which then stop and keep the best so far.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> RunConfig:
        if self.start.run != "none" and self.teacher.kind == "als" and self.teacher.trajectory_points:
            raise ValueError(
                "teacher.trajectory_points needs an ALS teacher that is trained from nothing; set start.run to none"
            )
        return self


def describe(model: type[BaseModel], prefix: str = "") -> list[tuple[str, str, Any, str]]:
    """Rows (dotted name, type, default, description) of all settings below ``model``, for help and docs."""
    rows: list[tuple[str, str, Any, str]] = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        dotted = f"{prefix}{name}"
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            rows += describe(kind, f"{dotted}.")
            continue
        text = getattr(kind, "__name__", None) if isinstance(kind, type) else str(kind).replace("typing.", "")
        rows.append((dotted, text or str(kind), field.get_default(call_default_factory=True), field.description or ""))
    return rows
