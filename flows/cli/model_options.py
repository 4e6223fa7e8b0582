"""What the commands that open a model share: which one is meant, a registered one or one of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from flows.cli.options import workspace_of

if TYPE_CHECKING:
    from tasks.mlops.champion import Registered

Name = Annotated[str | None, Parameter(help="Registered model [the only one with the alias].")]
Alias = Annotated[str, Parameter(help="Which of its versions: the one with this alias.")]
ModelName = Literal["student", "teacher", "scratch", "svd"]


def find_registered(name: str | None, alias: str, workdir: Path | None) -> Registered:
    """The registered model that is meant.

    Raises:
        InputError: there is none, or more than one.
    """
    from tasks.mlops import champion

    champion.use_registry(workspace_of(workdir))
    return champion.Registered.find(name, alias)
