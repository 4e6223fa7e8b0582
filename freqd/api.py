"""freqd in a notebook: from a data frame to a distilled student in one line, without servers and without a working directory.

    model = freqd.Distiller(dim=20).fit(frame)
    model.recommend("anna", k=5)

What is computed is what ``freqd run`` computes with the same settings, stage by stage.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
import polars as pl

import freqd
from freqd import provenance
from freqd.config import RunConfig, load
from freqd.config.budget import within_budget
from freqd.data import Places, ingest
from freqd.data.interactions import Split
from freqd.distill import DistillSources, check_objectives, distill
from freqd.distill.shards import check_shards
from freqd.embeddings import TrainedModel
from freqd.errors import InputError
from freqd.evaluate import Validation, evaluate
from freqd.evaluate.faiss_index import settled
from freqd.graph import Graphs, build_graphs
from freqd.numerics.threads import limited
from freqd.serve.recommender import Recommender
from freqd.spectral import FeatureEvaluator, Spectrum, analyse
from freqd.spectral.analysis import VALIDATION_USERS
from freqd.storage.files import replacing
from freqd.teachers.training import check_teacher, train_teacher
from freqd.training.environment import TrainingEnvironment

if TYPE_CHECKING:
    import pandas as pd

    Frame: TypeAlias = pl.DataFrame | pl.LazyFrame | pd.DataFrame

Id = str | int
ABOUT = "distiller.json"


@dataclass(frozen=True)
class Fitted:
    """What ``Distiller.fit`` made, in this order."""

    split: Split
    graphs: Graphs
    teacher: TrainedModel
    spectrum: Spectrum
    student: TrainedModel

    @cached_property
    def recommender(self) -> Recommender:
        """The student as it is deployed; all known interactions count as seen."""
        return Recommender.of(self.student.features, self.split)


class Distiller:
    """A small recommender that learns to rank like a big one.

    Args:
        dim: embedding dimension of the student.
        teacher: kind of the teacher, see ``teacher.kind`` in docs/settings.md.
        seed: of every random choice.
        settings: any others by name, as ``{"teacher.factors": [64], "distill.epochs": 20}``; the arguments above win.

    Attributes:
        config: all settings.

    Raises:
        InputError: a setting does not exist or its value is refused.
    """

    def __init__(
        self, dim: int = 20, *, teacher: str = "als", seed: int = 0, settings: Mapping[str, object] | None = None
    ) -> None:
        own = {"distill": {"dim": dim}, "teacher": {"kind": teacher}, "seed": seed}
        self.config = load.build([*(load.nested(name, value) for name, value in (settings or {}).items()), own])
        self._fitted: Fitted | None = None
        self._integers: dict[str, bool] = {}

    def __repr__(self) -> str:
        config, state = self.config, "not fitted" if self._fitted is None else repr(self._fitted.split)
        return f"Distiller(dim={config.distill.dim}, teacher={config.teacher.kind!r}, seed={config.seed}): {state}"

    def fit(self, frame: Frame, *, user: str = "user", item: str = "item", time: str | None = None) -> Self:
        """Clean and split the interactions, train the teacher, analyse it, and distil it into the student.

        Rare users and items are left out and the last interactions held out for ``evaluate``, as the settings of ``data`` say.

        Args:
            frame: polars or pandas, an interaction a row.
            user, item: its columns with their ids, integers or text.
            time: its column with the time; None: ``time`` if there is one. Without times the split is at random.

        Raises:
            InputError: a column is missing, or the data or a setting cannot be used.
        """
        config = within_budget(self.config)
        check_teacher(config.teacher)
        check_objectives(config.distill.objectives, config.teacher)
        check_shards(config.distill, config.device)
        rows = _interactions(frame, user, item, time)
        with tempfile.TemporaryDirectory(prefix="freqd-") as folder, limited(config.threads or provenance.cores()):
            self._fitted = _fit(rows, config, Path(folder))
        self._integers = {name: rows.schema[name].is_integer() for name in ("user", "item")}
        return self

    @property
    def fitted(self) -> Fitted:
        """Split, graphs, teacher, spectrum and student.

        Raises:
            InputError: ``fit`` was not called.
        """
        if self._fitted is None:
            raise InputError("this Distiller is not fitted", "call fit with a data frame of interactions first")
        return self._fitted

    def recommend(self, user: Id | Iterable[Id], k: int = 10) -> pl.DataFrame:
        """The best items for a user, without those already met: columns item and score, best first.

        Somebody unknown gets the most popular items.

        Args:
            user: an id, or several; the result then has their ids in a column ``user``.
            k: items a user.

        Raises:
            InputError: ``k`` is not positive, or nothing is fitted.
        """
        if isinstance(user, str | int | np.integer):
            return self.recommend([user], k=k).drop("user")
        found = self.fitted.recommender.recommend([str(one) for one in user], k=k)
        return self._as_given(found.select("user", "item", "score"))

    def similar(self, item: Id, k: int = 10) -> pl.DataFrame:
        """The items most alike to one: columns item and score (cosine), best first.

        Raises:
            InputError: the item is unknown, ``k`` is not positive, or nothing is fitted.
        """
        found = self.fitted.recommender.similar(str(item), k=k)
        return self._as_given(pl.DataFrame([found.items, found.scores], {"item": pl.String, "score": pl.Float64}))

    @property
    def spectrum(self) -> pl.DataFrame:
        """The teacher by graph frequency: a row a side and band.

        Columns: side; low and high (edges of the band, 0 to 2); energy and density (shares of the teacher's energy, and of the
        graph's eigenvalues); only and without (the teacher's validation NDCG@10 with only that band, and without it).
        """
        found = self.fitted.spectrum
        frames = [
            pl.DataFrame(
                {
                    "side": [name] * len(side.energies),
                    "low": found.edges[:-1],
                    "high": found.edges[1:],
                    "energy": side.energies,
                    "density": side.density,
                    "only": side.importance_only,
                    "without": side.importance_without,
                }
            )
            for name, side in (("user", found.user), ("item", found.item))
        ]
        return pl.concat(frames)

    def evaluate(self) -> pl.DataFrame:
        """Teacher and student on the held-out test split: a row a model, a column a metric."""
        made, rows = self.fitted, []
        with limited(self.config.threads or provenance.cores()):
            for name, model in (("teacher", made.teacher), ("student", made.student)):
                found = evaluate(model.scorer, made.split, self.config.evaluate)
                rows.append({"model": name, "dim": model.features.dim, **found.metrics})
        return pl.DataFrame(rows)

    def save(self, path: str | Path) -> None:
        """Write all that was fitted into a folder, which replaces one of that name.

        Raises:
            InputError: nothing is fitted.
        """
        made = self.fitted
        about = {
            "freqd": freqd.__version__,
            "config": self.config.model_dump(mode="json"),
            "integers": self._integers,
        }
        with replacing(Path(path)) as folder:
            for field in fields(made):
                (folder / field.name).mkdir(parents=True)
                getattr(made, field.name).write(folder / field.name)
            (folder / ABOUT).write_text(json.dumps(about, indent=1))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            InputError: there is no such thing in that folder.
        """
        folder = Path(path)
        try:
            about = json.loads((folder / ABOUT).read_text())
        except (OSError, ValueError) as error:
            raise InputError(f"{folder} holds no saved Distiller", "name the folder that save wrote") from error
        config = RunConfig.model_validate(about["config"])
        model = cls(config.distill.dim, teacher=config.teacher.kind, seed=config.seed, settings=about["config"])
        model._fitted = Fitted(
            split=Split.read(folder / "split"),
            graphs=Graphs.read(folder / "graphs"),
            teacher=TrainedModel.read(folder / "teacher"),
            spectrum=Spectrum.read(folder / "spectrum"),
            student=TrainedModel.read(folder / "student"),
        )
        model._integers = about["integers"]
        return model

    def _as_given(self, found: pl.DataFrame) -> pl.DataFrame:
        """With ids as they were in the frame: freqd keeps all of them as text."""
        integers = [name for name, integer in self._integers.items() if integer and name in found.columns]
        return found.with_columns(pl.col(integers).cast(pl.Int64))


def _interactions(frame: Any, user: str, item: str, time: str | None) -> pl.DataFrame:
    """The columns user, item and, if there is one, time.

    Raises:
        InputError: one is missing.
    """
    rows = frame.collect() if isinstance(frame, pl.LazyFrame) else pl.DataFrame(frame)
    names = {"user": user, "item": item}
    if time is not None or "time" in rows.columns:
        names["time"] = time or "time"
    for what, name in names.items():
        if name not in rows.columns:
            raise InputError(
                f"the frame has no column {name!r} for the {what}; it has {', '.join(map(repr, rows.columns))}",
                f'name it: fit(frame, {what}="...")',
            )
    return rows.select(pl.col(name).alias(what) for what, name in names.items())


def _fit(rows: pl.DataFrame, config: RunConfig, folder: Path) -> Fitted:
    """The stages of a run up to the distillation; ``folder`` is for what is written on the way."""
    rows.write_parquet(folder / "frame.parquet")
    columns = {"user": "user", "item": "item", "time": "time" if "time" in rows.columns else "none"}
    data = config.data.of(str(folder / "frame.parquet"))
    data = data.model_copy(update={"columns": data.columns.model_copy(update=columns)})
    seed = config.seed
    split = ingest(data, Places(None, folder), seed=seed)
    where = TrainingEnvironment(seed, config.device, folder / "teacher", index=settled(config.index))
    teacher = train_teacher(split, config.teacher, where)
    graphs = build_graphs(split.train, config.graph, teacher.features if config.graph.kind == "features" else None)
    validate = Validation.of(split, limit=VALIDATION_USERS, seed=seed)
    rng = np.random.default_rng(seed)
    spectrum = analyse(graphs, teacher.features, FeatureEvaluator.of(validate, teacher), config.spectral, rng=rng)
    sources = DistillSources(split, teacher, graphs, spectrum)
    return Fitted(split, graphs, teacher, spectrum, distill(sources, config.distill, replace(where, checkpoint=None)))
