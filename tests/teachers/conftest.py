"""Small data with structure to learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from freqd.data.interactions import Interactions, Split
from freqd.evaluate.validation import Validation
from tests.evaluate.conftest import assemble
from tests.oracles import grocery_like


def shelf_split() -> Split:
    """Groups of taste, users and items without any interaction; a fifth is validation and a tenth test."""
    whole = grocery_like(0, mean=16.0)
    part = np.random.default_rng(1).choice(3, len(whole), p=[0.7, 0.2, 0.1])
    parts = [Interactions(whole.user[part == n], whole.item[part == n], whole.n_users, whole.n_items) for n in range(3)]
    return assemble(*parts)


@pytest.fixture(scope="session")
def shelf() -> Split:
    """The split."""
    return shelf_split()


@pytest.fixture(scope="session")
def train(shelf: Split) -> sparse.csr_array:
    """R of the train part."""
    return shelf.train.matrix()


@pytest.fixture(scope="session")
def validation(shelf: Split) -> Validation:
    """Over all its users."""
    return Validation.of(shelf, limit=None, seed=0)


@pytest.fixture(scope="session")
def tastes() -> Split:
    """Tastes of rank 3, of which the graph's smooth part shows less than can be learnt."""
    rng = np.random.default_rng(0)
    taste = rng.standard_normal((200, 3)) @ rng.standard_normal((3, 80)) + 0.5 * rng.standard_normal((200, 80))
    user, item = (part.astype(np.int32) for part in np.nonzero(taste > np.quantile(taste, 0.8)))
    part = rng.choice(3, len(user), p=[0.6, 0.3, 0.1])
    return assemble(*(Interactions(user[part == n], item[part == n], 200, 80) for n in range(3)))
