"""Lists that another model made, which are read and not trained."""

from __future__ import annotations

from freqd.config import TeacherConfig
from freqd.data.interactions import Split
from freqd.embeddings import TrainedModel
from freqd.teachers.external_lists import load_lists
from freqd.teachers.previous_model import PreviousModel
from freqd.teachers.registry import teacher
from freqd.training.environment import TrainingEnvironment


def reread_lists(
    split: Split,
    config: TeacherConfig,
    environment: TrainingEnvironment,
    judged: TrainedModel,
    previous: PreviousModel | None,
) -> TrainedModel:
    """The same lists for other users and items."""
    return read_lists(split, config, environment)


@teacher("lists", refit=reread_lists)
def read_lists(split: Split, config: TeacherConfig, environment: TrainingEnvironment) -> TrainedModel:
    """The lists of ``teacher.lists``, matched by id; as its table a truncated SVD of the largest of ``teacher.factors``."""
    assert config.lists is not None  # TeacherConfig refuses kind 'lists' without it
    brought = load_lists(config.lists, split)
    features = brought.table(max(config.factors), seed=environment.seed)
    return TrainedModel(features, info={"notes": brought.notes}, full=brought.scorer)
