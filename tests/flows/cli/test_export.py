"""`freqd export` of a registered model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flows.cli.export import export
from flows.cli.model_options import WhichModel
from tasks.mlops.champion import Registered
from tests.serve.http.shop import ITEMS, make_recommender


def test_the_file_holds_the_features_with_their_ids(shop: tuple[Registered, str], tmp_path: Path) -> None:
    registered, _ = shop
    assert export(out=tmp_path / "features.npz", which=WhichModel(name=registered.name)) == 0
    with np.load(tmp_path / "features.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["users"], make_recommender().features.users)
        assert file["item_ids"].tolist() == [f"i{i}" for i in range(ITEMS)]
