"""Settings of the data: where it is, what its columns mean, how it is cleaned and split."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, model_validator

from freqd.config.base import Fraction, Settings

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
    train: str | None = Field(None, description="File with the train split (with `test`, replaces `source`).")
    valid: str | None = Field(None, description="File with the validation split; without it one is cut from train.")
    test: str | None = Field(None, description="File with the test split.")
    items: str | None = Field(
        None,
        min_length=1,
        description="CSV, TSV or Parquet file with titles of the items, for the report: a row an item, with its id, a title and perhaps "
        "a category, in columns such as item, title, category. No model reads it.",
    )
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
    memory_gb: float | None = Field(
        None,
        gt=0.0,
        le=1e5,
        description="Gigabytes of memory that reading and cleaning may take. Data for which that is too little are read twice, some rows "
        "after the others, with the same result. Default: what is free.",
    )
    as_of: date | None = Field(None, description="Ignore every interaction after this day (UTC).")
    min_time: date = Field(
        date(1990, 1, 1), description="Times before this day (UTC) count as missing, and are reported."
    )
    max_time: date | None = Field(
        None,
        description="Times after this day (UTC) count as missing, and are reported. Default: tomorrow.",
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
        description="k-core: users with fewer distinct items are dropped (default 5; 1 for given splits).",
    )
    min_item_interactions: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="k-core: items with fewer distinct users are dropped (default 5; 1 for given splits).",
    )
    split: Literal["auto", "time", "random", "given"] = Field(
        "auto",
        description="time: one global cut; random: a share of every user's items; given: the data's own splits. "
        "auto: given if the data have splits, else time if they have times, else random.",
    )
    valid_fraction: Fraction = Field(0.1, description="Share of the interactions for validation.")
    test_fraction: Fraction = Field(0.1, description="Share of the interactions for the test split.")

    @property
    def text_layout(self) -> Literal["table", "adjacency"] | None:
        """The layout of text files; None: by their first lines."""
        return None if self.layout == "auto" else self.layout

    def of(self, source: str) -> DataConfig:
        """These settings for another named data set or file."""
        others = dict.fromkeys(("train", "valid", "test", "items", "sql"))
        return self.model_copy(update={"source": (source,), **others})

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
