"""What the commands that open a model share: which one is meant, and how its best items are found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from flows.cli.options import Workdir, workspace_of
from freqd.errors import InputError

if TYPE_CHECKING:
    from freqd.config import IndexConfig
    from tasks.mlops.champion import Registered

ModelName = Literal["student", "teacher", "scratch", "svd"]
IndexKind = Literal["auto", "exact", "faiss"]


@Parameter(name="*")
@dataclass(frozen=True)
class WhichModel:
    """The registered model that is meant."""

    alias: Annotated[str, Parameter(help="Which of its versions: the one with this alias.")] = "champion"
    name: Annotated[str | None, Parameter(help="Registered model [the only one with the alias].")] = None
    workdir: Workdir = None

    def find(self) -> Registered:
        """That model.

        Raises:
            InputError: there is none, or more than one.
        """
        from tasks.mlops import champion

        champion.use_registry(workspace_of(self.workdir))
        return champion.Registered.find(self.name, self.alias)


CHAMPION = WhichModel()


@Parameter(name="*")
@dataclass(frozen=True)
class Index:
    """How the best items are found."""

    index: Annotated[
        IndexKind, Parameter(help="exact: score all items; faiss: an approximate index; auto: one for very many items.")
    ] = "auto"
    index_from: Annotated[int, Parameter(help="Items from which on 'auto' takes an index.")] = 500_000
    index_recall: Annotated[float, Parameter(help="Share of the exact top 20 that an index has to find.")] = 0.98

    def config(self) -> IndexConfig:
        """The settings of the index, and faiss if it was asked for.

        Raises:
            InputError: one is out of range, or faiss is not installed.
        """
        from pydantic import ValidationError

        from freqd.config import IndexConfig
        from freqd.evaluate.faiss_index import require_installed

        try:
            config = IndexConfig(kind=self.index, min_items=self.index_from, recall=self.index_recall)
        except ValidationError as error:
            first = error.errors()[0]
            option = {"min_items": "--index-from", "recall": "--index-recall"}[str(first["loc"][0])]
            raise InputError(f"{option} {first['input']}: {first['msg']}", "see the command's --help") from error
        if self.index == "faiss":
            require_installed()
        return config


INDEX = Index()
