"""The item table: a title, and perhaps a category, for the items of the data, so that people can read what is recommended.

CSV, TSV or Parquet like the interactions, one row an item. The columns are found by their names: the item's id as in the
interactions, a title, a category. Ids are cleaned by the rule of the interactions' ids. No model reads it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import polars as pl
from polars.exceptions import PolarsError

from freqd.config import DataConfig
from freqd.data.columns import first_known, guess
from freqd.data.encode import matching_ids
from freqd.data.files import DataFile, check_count, check_layout, unreadable
from freqd.data.ids import rows_of
from freqd.data.quality import CleaningReport
from freqd.data.recognise import find_files
from freqd.errors import InputError
from freqd.storage.files import file_digest, text_digest

TITLES = (
    *("title", "itemtitle", "producttitle", "movietitle", "booktitle", "itemname", "productname", "articlename", "moviename"),
    *("bookname", "artistname", "trackname", "songname", "gamename", "name", "label"),
    *("itemdescription", "productdescription", "description", "producttype", "prodname"),
)  # fmt: skip
CATEGORIES = (
    *("category", "categoryname", "itemcategory", "productcategory", "maincategory", "genre", "genres", "department"),
    *("productgroup", "productgroupname", "type", "kind"),
)
LONGEST = 200
"""Characters of a title that are kept."""
_ROW = "(the header not counted)"


@dataclass(frozen=True, eq=False)
class ItemRows:
    """The rows of an item table as they were read.

    Attributes:
        place: the files, for messages.
        frame: ``id``, ``title`` and ``category``, texts; the last two may be null.
        warnings: what was odd about the files.
    """

    place: str
    frame: pl.DataFrame
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ItemTable:
    """Titles and categories of the items of a split.

    Attributes:
        titles, categories: (n_items,) by dense id; null where there is none.
        unused: ids of the table that are no item of the split.
    """

    kind: ClassVar[str] = "items"
    records: ClassVar[frozenset[str]] = frozenset()

    titles: pl.Series
    categories: pl.Series
    unused: int

    @property
    def untitled(self) -> int:
        """Items of the split without a title."""
        return int(self.titles.null_count())

    def write(self, folder: Path) -> None:
        """Write ``items.parquet`` and ``info.json``."""
        frame = pl.DataFrame({"title": self.titles, "category": self.categories})
        frame.write_parquet(folder / "items.parquet", statistics=False)
        (folder / "info.json").write_text(json.dumps({"unused": self.unused}))

    @classmethod
    def read(cls, folder: Path) -> ItemTable:
        """Read what ``write`` wrote."""
        frame = pl.read_parquet(folder / "items.parquet")
        return cls(frame["title"], frame["category"], **json.loads((folder / "info.json").read_text()))


def items_digest(config: DataConfig) -> str:
    """SHA-256 over the contents of the files of ``data.items``.

    Raises:
        InputError: there are none, or they are neither text nor Parquet.
    """
    return text_digest(*sorted(file_digest(file.path) for file in _files(config)))


def read_items(config: DataConfig) -> ItemRows:
    """Read and check the item table as far as that goes without the data it belongs to.

    Raises:
        InputError: a file is missing or damaged, has no column of ids or titles, a row has no id, or an item has two titles.
    """
    files, ledger = _files(config), CleaningReport()
    parts = [_read(file, config, ledger) for file in files]
    check_count(files, sum(part.height for part in parts))
    rows = ItemRows(", ".join(file.label for file in files), pl.concat(parts), tuple(ledger.warnings))
    _refuse_two_titles(rows.frame)
    return replace(rows, frame=rows.frame.select("id", "title", "category"))


def align(rows: ItemRows, item_ids: pl.Series) -> ItemTable:
    """The table in the order of a split's items.

    Args:
        rows: the item table.
        item_ids: (n_items,) the split's ids as text; position is the dense id.

    Raises:
        InputError: no item has a title.
    """
    named = rows.frame.with_columns(id=matching_ids(item_ids, rows.frame["id"])).drop_nulls("id")
    named = named.group_by("id", maintain_order=True).agg(pl.all().drop_nulls().first())
    found = rows_of(item_ids, named["id"])
    where = pl.Series(found).set(pl.Series(found < 0), None)
    table = ItemTable(
        titles=named["title"].gather(where),
        categories=named["category"].gather(where),
        unused=named.height - int((found >= 0).sum()),
    )
    if table.untitled == len(item_ids):
        theirs, ours = (
            ", ".join(f"'{value}'" for value in ids.drop_nulls().head(3)) for ids in (rows.frame["id"], item_ids)
        )
        raise InputError(
            f"{rows.place}: none of the {len(item_ids):,} items of the data has a title there (its ids are such as {theirs}, "
            f"those of the data {ours})",
            "give a table with the item ids of the interactions, or leave data.items out",
        )
    return table


def _files(config: DataConfig) -> list[DataFile]:
    assert config.items is not None
    return [replace(file, quotes=config.quotes) for file in find_files(config.items, "table")]


def _read(file: DataFile, config: DataConfig, ledger: CleaningReport) -> pl.DataFrame:
    """``id``, ``title``, ``category``, ``row`` (from 1) and ``file`` of one file."""
    schema = file.schema()
    file.check_rows()
    check_layout(file, ledger)
    wanted = _columns(file, config, schema.names())
    for role, name in wanted.items():
        if schema[name].is_nested() or schema[name] == pl.Binary:
            raise InputError(
                f"{file.label}: column '{name}' cannot be the {role}: its type is {schema[name]}",
                "write it as text, or name another column as the " + role,
            )
    texts = [_text(name).alias(role) for role, name in wanted.items()]
    try:
        frame = file.scan().select(texts).collect()
    except (PolarsError, pl.exceptions.PanicException) as error:
        raise unreadable(file, error) from error
    if frame["id"].null_count():
        row = int(frame["id"].is_null().arg_max() or 0) + 1
        raise InputError(
            f"{file.label}: row {row:,} {_ROW} has no id in column '{wanted['id']}'",
            "give every row the id of its item, or take that row out",
        )
    category = pl.col("category") if "category" in wanted else pl.lit(None, pl.String).alias("category")
    return frame.with_row_index("row", offset=1).select("id", "title", category, "row", file=pl.lit(file.label))


def _columns(file: DataFile, config: DataConfig, names: list[str]) -> dict[str, str]:
    """The column of each role; a category is optional."""
    own = config.columns.item
    key = own if isinstance(own, str) and own in names else guess("item", names) or first_known(("id",), names)
    title = first_known(TITLES, names, [key] if key else [])
    for role, found in (("id of the item", key), ("title", title)):
        if found is None:
            raise InputError(
                f"{file.label}: no column looks like the {role}; its columns are {', '.join(map(repr, names[:30]))}",
                "call the columns item and title (and category, if there is one)",
            )
    assert key is not None
    assert title is not None
    category = first_known(CATEGORIES, names, [key, title])
    return {"id": key, "title": title} | ({"category": category} if category else {})


def _text(name: str) -> pl.Expr:
    """A text without outer blanks, control characters and line breaks; null where nothing is left."""
    text = pl.col(name).cast(pl.String, strict=False).str.replace_all(r"[\p{C}\s]+", " ").str.strip_chars()
    return pl.when(text != "").then(text.str.slice(0, LONGEST))


def _refuse_two_titles(frame: pl.DataFrame) -> None:
    titled = frame.drop_nulls("title")
    twice = titled.group_by("id", maintain_order=True).agg(pl.col("title").n_unique().alias("titles"))
    several = twice.filter(pl.col("titles") > 1)["id"]
    if not len(several):
        return
    rows = titled.filter(pl.col("id") == several[0]).unique("title", keep="first", maintain_order=True)
    first, second = rows.head(2).iter_rows(named=True)
    raise InputError(
        f"{second['file']}: row {second['row']:,} {_ROW} gives item '{second['id']}' the title '{second['title']}', row "
        f"{first['row']:,}{'' if first['file'] == second['file'] else ' of ' + first['file']} the title '{first['title']}' "
        f"({len(several):,} items have two)",
        "keep one title an item",
    )
