"""The registered model as code: MLflow copies this file into the model and runs it where the model is loaded.

It needs freqd (which travels with the model), numpy, polars and safetensors. Nothing is pickled.
"""

from __future__ import annotations

from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class RecommenderModel(PythonModel):
    """Top-k items of users by the inner product of their features."""

    def load_context(self, context: PythonModelContext) -> None:
        """Open the features, the id maps and what the users have already seen."""
        from pathlib import Path

        from freqd.serve.recommender import Recommender

        self._recommender = Recommender.read(Path(context.artifacts["bundle"]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Recommendations for the users in column ``user``: columns user, rank, item, score, source.

        Args:
            context: where MLflow has put the model.
            model_input: one row a user.
            params: ``k`` (items a user, 20) and ``exclude_seen`` (leave out what the user already has, True).
        """
        settings = params or {}
        frame = self._recommender.recommend(
            [str(user) for user in model_input["user"]],
            k=int(settings.get("k", 20)),
            exclude_seen=bool(settings.get("exclude_seen", True)),
        )
        return pd.DataFrame(frame.to_dict(as_series=False))


mlflow.models.set_model(RecommenderModel())
