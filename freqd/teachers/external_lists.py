"""Lists that another model made, as a teacher: a file with a row a user and listed item, read, checked and matched by id.

Parquet or CSV, with the columns

- ``user`` (or ``user_id``) and ``item`` (or ``item_id``): ids as in the interactions, cleaned by the same rule;
- ``score`` (higher is better) or ``rank`` (lower is better): numbers.

Items that a user has met in the train split say nothing of what to recommend and are left out. Scores are kept as they are. Of
ranks only the order counts: with places 1, 2, ... in a user's list and L the longest list,

    score = ln((L + 1) / place)

so that a softmax over the scores falls with a power of the place, and every listed item is above 0. The table that stands
beside the lists for what works on tables is the truncated SVD of these scores, 0 where an item is not listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from scipy import sparse

from freqd.data.encode import clean_ids
from freqd.data.ids import rows_of
from freqd.data.interactions import IdArray, Split
from freqd.embeddings import Embeddings, FloatMatrix
from freqd.errors import InputError
from freqd.numerics.listed_scores import NO_ITEM
from freqd.pseudonym import shape
from freqd.scorer import ListScorer
from freqd.storage.files import file_digest
from freqd.teachers.randomized_svd import randomized_svd

LONGEST = 1000
"""Items of a user's list that are kept, the best ones."""

NAMES = {"user": ("user", "user_id"), "item": ("item", "item_id")}
HELP = "give columns user, item and score (or rank), a row a listed item; docs/guide.md shows how to write such a file"


@dataclass(frozen=True, eq=False)
class ExternalLists:
    """Lists aligned with a split.

    Attributes:
        scorer: the lists.
        places: (n_users, L) float32, ln((L + 1) / place), 0 where a list has ended.
        notes: what was found and what was left out, in sentences.
    """

    scorer: ListScorer
    places: FloatMatrix
    notes: list[str]

    def table(self, rank: int, *, seed: int) -> Embeddings:
        """The truncated SVD of the places' scores."""
        there = self.scorer.lists >= 0
        shape = (self.scorer.n_users, self.scorer.n_items)
        ends = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
        scores = sparse.csr_array((self.places[there], self.scorer.lists[there], ends), shape=shape)
        svd = randomized_svd(scores, min(rank, *shape), seed=seed)
        root = np.sqrt(svd.sizes).astype(np.float32)
        return Embeddings(svd.left * root, svd.right * root)


def lists_digest(path: str | Path) -> str:
    """SHA-256 of the file.

    Raises:
        InputError: there is none.
    """
    return file_digest(_file(path))


def check_lists(path: str | Path) -> pl.DataFrame:
    """The file's rows, checked as far as that goes without the data they belong to.

    Returns:
        Columns user and item (text) and order (float64, lower is better), and ``ranked``: whether it is of ranks.

    Raises:
        InputError: it is missing or unreadable, a column is missing, an id or number is missing or none, a user has an item twice;
            the message names file, column and row.
    """
    file = _file(path)
    frame = _read(file)
    columns = {side: _named(frame, names, file) for side, names in NAMES.items()}
    kinds = [name for name in ("score", "rank") if name in frame.columns]
    if len(kinds) != 1:
        there = ", ".join(frame.columns)
        problem = (
            "both a column 'score' and a column 'rank'" if kinds else f"neither a column 'score' nor 'rank' ({there})"
        )
        raise InputError(f"the lists {file} have {problem}", "keep the one that says the order: " + HELP)
    if frame.is_empty():
        raise InputError(f"the lists {file} have no rows", HELP)
    ids = {side: _ids(frame[name], file) for side, name in columns.items()}
    number = _numbers(frame[kinds[0]], file)
    found = pl.DataFrame({**ids, "number": number}).with_columns(ranked=pl.lit(kinds[0] == "rank"))
    twice = found.select(pl.struct("user", "item").is_duplicated()).to_series()
    if twice.any():
        raise InputError(
            f"the lists {file} name an item twice for one user, row {_row(twice)}", "keep one row a user and item"
        )
    return found


def load_lists(path: str | Path, split: Split) -> ExternalLists:
    """Read, check and align the lists at ``path``.

    Raises:
        InputError: as ``check_lists``; or none of the users, or of the items, is in the data.
    """
    found = check_lists(path)
    user, item = (_rows(found[side], ids) for side, ids in (("user", split.user_ids), ("item", split.item_ids)))
    for side, rows, wanted in (("user", user, split.user_ids), ("item", item, split.item_ids)):
        if (rows < 0).all():
            told = shape if side == "user" else str
            raise InputError(
                f"the lists {path}, column '{side}': none of the ids is in the data (they look like "
                f"'{told(str(found[side][0]))}', those of the data like '{told(str(wanted[0]))}')",
                f"name {side}s by the same ids as in the interactions",
            )
    seen = split.train.matrix()
    numbered = pl.DataFrame({"user": user, "item": item, "number": found["number"]})
    known = numbered.filter((pl.col("user") >= 0) & (pl.col("item") >= 0))
    if known.select(pl.struct("user", "item").is_duplicated().any()).item():
        raise InputError(f"the lists {path} have ids that are one, such as 12 and 12.0", "keep one row a user and item")
    met = np.asarray(seen[known["user"].to_numpy(), known["item"].to_numpy()]).ravel() > 0
    ranked = bool(found["ranked"][0])
    ordered = (
        known.filter(pl.Series(~met))
        .sort("number", descending=not ranked, maintain_order=True)
        .sort("user", maintain_order=True)
        .with_columns(place=pl.int_range(pl.len()).over("user"))
        .filter(pl.col("place") < LONGEST)
    )
    listed = ordered["user"].n_unique()
    rest = f"; the other {split.n_users - listed:,} learn nothing from it" if listed < split.n_users else ""
    notes = [
        f"{listed:,} of {split.n_users:,} users have a list of items that are new to them{rest}",
        *_left_out(found, user, item, int(met.sum())),
    ]
    return _filled(ordered, split, ranked, notes)


def _filled(ordered: pl.DataFrame, split: Split, ranked: bool, notes: list[str]) -> ExternalLists:
    """The lists side by side.

    Raises:
        InputError: there is no item to learn from.
    """
    if ordered.is_empty():
        raise InputError(
            "the lists name only items that their users have met already", "list items that are new to a user"
        )
    user, place = ordered["user"].to_numpy(), ordered["place"].to_numpy()
    length = int(place.max()) + 1
    lists: IdArray = np.full((split.n_users, length), NO_ITEM, np.int32)
    places, scores = np.zeros(lists.shape, np.float32), np.zeros(lists.shape, np.float32)
    lists[user, place] = ordered["item"].to_numpy()
    places[user, place] = np.log((length + 1) / (place + 1))
    scores[user, place] = places[user, place] if ranked else ordered["number"].to_numpy()
    return ExternalLists(ListScorer(lists, scores, split.n_items), places, notes)


def _left_out(found: pl.DataFrame, user: IdArray, item: IdArray, met: int) -> list[str]:
    """What of the file is not used, and why; nothing if all of it is."""
    notes = []
    for side, rows in (("user", user), ("item", item)):
        unknown = found[side].filter(pl.Series(rows < 0))
        if len(unknown):
            notes.append(f"{unknown.n_unique():,} {side}s of the lists ({len(unknown):,} rows) are not in the data")
    if met:
        notes.append(f"{met:,} listed items were left out, since their users have met them in the train split")
    return notes


def _file(path: str | Path) -> Path:
    file = Path(path).expanduser()
    if not file.is_file():
        raise InputError(f"the lists {file} do not exist", "check the path in teacher.lists")
    if file.suffix not in (".parquet", ".csv"):
        raise InputError(f"the lists {file} have an unknown ending '{file.suffix}'", "use a .parquet or .csv file")
    return file


def _read(file: Path) -> pl.DataFrame:
    try:
        # text: an id such as 007 is no number
        return pl.read_parquet(file) if file.suffix == ".parquet" else pl.read_csv(file, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"the lists {file} cannot be read: {error}", "write the file again") from error


def _named(frame: pl.DataFrame, names: tuple[str, ...], file: Path) -> str:
    for name in names:
        if name in frame.columns:
            return name
    raise InputError(f"the lists {file} have no column '{names[0]}' (they have: {', '.join(frame.columns)})", HELP)


def _ids(column: pl.Series, file: Path) -> pl.Series:
    """Ids as text."""
    kind = column.dtype
    if not (kind.is_integer() or kind == pl.String or isinstance(kind, pl.Categorical | pl.Enum)):
        raise InputError(
            f"the lists {file}, column '{column.name}' holds ids of type {kind}",
            "ids must be integers or text, as in the interactions",
        )
    text = column.cast(pl.String)
    missing = text.is_null() | (text.str.strip_chars() == "")
    if missing.any():
        raise InputError(
            f"the lists {file}, column '{column.name}' has no id in row {_row(missing)}", "every row needs an id"
        )
    return text


def _numbers(column: pl.Series, file: Path) -> pl.Series:
    """Finite numbers that float32 can hold."""
    number = column.cast(pl.Float64, strict=False) if column.dtype.is_numeric() or column.dtype == pl.String else None
    if number is None:
        raise InputError(f"the lists {file}, column '{column.name}' holds {column.dtype}", "give a number in every row")
    bad = ~(number.abs() < float(np.finfo(np.float32).max)).fill_null(False)
    if bad.any():
        row = _row(bad)
        raise InputError(
            f"the lists {file}, column '{column.name}', row {row} holds {column[row - 1]!r} where a finite number is needed "
            f"({int(bad.sum()):,} of {len(bad):,} rows have such values)",
            "give a number in every row, or leave those rows out",
        )
    return number


def _row(bad: pl.Series) -> int:
    """The first one, from 1, the header not counted."""
    return int(bad.arg_max() or 0) + 1


def _rows(ids: pl.Series, wanted: pl.Series) -> IdArray:
    """The row of each listed id in the data, −1 where it is not there; cleaned as the interactions' ids where that finds more."""
    known, distinct = wanted.cast(pl.String), ids.unique(maintain_order=True)
    exact, cleaned = rows_of(distinct, known), rows_of(clean_ids(distinct), known)
    best = cleaned if (cleaned >= 0).sum() > (exact >= 0).sum() else exact
    return best[rows_of(ids, distinct)].astype(np.int32)
