"""What the commands that open a model share: which one is meant, a registered one or one of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from flows.cli.options import Workdir, workspace_of

if TYPE_CHECKING:
    from tasks.mlops.champion import Registered

ModelName = Literal["student", "teacher", "scratch", "svd"]


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
