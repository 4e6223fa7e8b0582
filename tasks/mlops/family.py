"""A model's name may mean two shops whose files are called alike: no champion is held against data of another one."""

from __future__ import annotations

from mlflow.entities.model_registry import ModelVersion

from freqd.config import RunConfig
from freqd.data.family import DatasetOverlap, dataset_overlap
from freqd.data.interactions import Interactions, Split
from freqd.data.sources import name_of
from freqd.errors import DamagedArtifactError, InputError
from freqd.serve.recommender import Recommender
from freqd.storage.store import ArtifactRef
from tasks.mlops import registry
from tasks.run_context import RunContext


def model_name(config: RunConfig) -> str:
    """Name of the registered model of a run with these settings."""
    return config.registry.model_name or f"freqd-{name_of(config.data)}"


def check_family(context: RunContext, config: RunConfig, split: ArtifactRef) -> None:
    """See, before anything is trained, that the data are a later state of those that the champion was made of.

    Raises:
        InputError: they are not, as far as ids and interactions can tell.
    """
    policy = config.registry
    if not policy.enabled or policy.same_family:
        return
    name = model_name(config)
    champion = registry.champion_of(name)
    if champion is None or champion.tags.get("freqd.data_digest") == split.digest:
        return
    found = _kinship(context, champion, split)
    if not found.holds(policy.min_known_share, policy.min_pair_share):
        raise InputError(
            f"model {name} has a champion of other data (version {champion.version}, run "
            f"{champion.tags.get('freqd.run', 'unknown')}): {found}",
            "give these data a model of their own by registry.model_name, or, if they are a later state of the same, set "
            "registry.same_family=true",
        )


def _kinship(context: RunContext, champion: ModelVersion, split: ArtifactRef) -> DatasetOverlap:
    store = context.workspace.store
    now = store.open(split, Split)
    try:
        before = registry.split_of(store, champion)
    except DamagedArtifactError:  # its data are gone: what it has seen is in the model, without times
        before = _seen(registry.load_champion(str(champion.name), str(champion.version)))
    return dataset_overlap(before, now)


def _seen(recommender: Recommender) -> Split:
    """What a model has seen, as one part."""
    seen = recommender.seen.tocoo()
    none = seen.row[:0].astype("int32")
    train, empty = (
        (rows.astype("int32"), items.astype("int32")) for rows, items in ((seen.row, seen.col), (none, none))
    )
    shape = (len(recommender.user_ids), len(recommender.item_ids))
    first, second, third = (Interactions(*pair, *shape) for pair in (train, empty, empty))
    return Split(first, second, third, recommender.user_ids, recommender.item_ids)
