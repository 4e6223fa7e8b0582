"""The registered model behind an alias: found, opened and checked."""

from __future__ import annotations

import os
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from freqd.errors import InputError
from freqd.serve import Recommender
from tasks.mlops import registry
from tasks.runtime.environment import embed
from tasks.runtime.server_state import Stack
from tasks.runtime.workspace import Workspace


def use_registry(workspace: Workspace) -> None:
    """Point MLflow at the workspace's registry, unless ``MLFLOW_TRACKING_URI`` names another.

    Raises:
        InputError: the workspace has none.
    """
    if os.environ.get("MLFLOW_TRACKING_URI"):
        return
    if Stack.running(workspace) is None and not (workspace.mlflow_home / "mlflow.db").is_file():
        raise InputError(
            f"there is no model registry below {workspace.root}",
            "run `freqd run` first, name its --workdir, or set MLFLOW_TRACKING_URI to an MLflow server",
        )
    embed(workspace, flows=False)


@dataclass(frozen=True)
class Registered:
    """A model's name and the alias to follow.

    Attributes:
        name: of the registered model.
        alias: which of its versions is meant; it may move at any time.
    """

    name: str
    alias: str

    @classmethod
    def find(cls, name: str | None, alias: str) -> Registered:
        """The model ``name``, or the only one in the registry that has a version with this alias.

        Raises:
            InputError: there is none, or more than one.
        """
        models = {str(m.name): sorted(m.aliases) for m in MlflowClient().search_registered_models()}
        having = [model for model, aliases in models.items() if alias in aliases]
        if not models:
            raise InputError("no model is registered", "run `freqd run` first, or name the --workdir it used")
        if name is None and len(having) == 1:
            return cls(having[0], alias)
        if name is None:
            problem = (
                f"no registered model has the alias {alias!r}"
                if not having
                else f"more than one model has the alias {alias!r}"
            )
            listed = ", ".join(f"{m} ({', '.join(a) or 'no alias'})" for m, a in models.items())
            raise InputError(problem, f"name one with --name and --alias; models are: {listed}")
        if name not in models:
            raise InputError(f"there is no registered model {name!r}", f"models are: {', '.join(models)}")
        if name not in having:
            raise InputError(
                f"model {name!r} has no version with the alias {alias!r}",
                f"its aliases are: {', '.join(models[name]) or 'none'}",
            )
        return cls(name, alias)

    def version(self) -> str:
        """The version that has the alias at this moment.

        Raises:
            MlflowException: the registry does not answer, or no version has the alias.
        """
        return str(MlflowClient().get_model_version_by_alias(self.name, self.alias).version)

    def load(self, version: str) -> Recommender:
        """One version.

        Raises:
            BrokenModelError: it cannot answer, and why.
        """
        return registry.load(self.name, version)

    def open(self) -> tuple[str, Recommender]:
        """The version that has the alias, and its recommender.

        Raises:
            InputError: it is broken, or the registry does not answer.
        """
        try:
            version = self.version()
            return version, self.load(version)
        except MlflowException as error:
            raise InputError(
                f"the registry does not answer: {error.message}", "see whether the MLflow server runs"
            ) from error
        except registry.BrokenModelError as error:
            raise InputError(str(error), f"give the alias {self.alias!r} to a version that is whole") from error
