"""Teachers trained by gradients on pairs (BPR, Rendle et al., UAI 2009): matrix factorisation or LightGCN."""

from __future__ import annotations

from freqd.config import TeacherConfig
from freqd.data.interactions import Split
from freqd.embeddings import ModelInfo, TrainedModel
from freqd.evaluate.validation import Validation
from freqd.models.lightgcn import LightGCN
from freqd.models.mf import MatrixFactorization
from freqd.training.environment import TrainingEnvironment
from freqd.training.interfaces import Trainable
from freqd.training.loop import fit
from freqd.training.optim import OptimConfig


def train_by_gradient(
    split: Split, config: TeacherConfig, factors: int, environment: TrainingEnvironment
) -> TrainedModel:
    """Train a teacher of kind ``bpr`` or ``lightgcn`` of embedding dimension ``factors``; see ``fit``."""
    trained = _fit(split, config, factors, OptimConfig.of(config), environment)
    trained.info.update(ModelInfo(method=config.kind, factors=factors))
    return trained


def refit_by_gradient(
    split: Split, config: TeacherConfig, judged: TrainedModel, environment: TrainingEnvironment
) -> TrainedModel:
    """Train the judged teacher again, up to its best epoch, on data without a validation part."""
    return _fit(split, config, judged.info["factors"], OptimConfig.of(config).again(judged.info), environment)


def _fit(
    split: Split, config: TeacherConfig, factors: int, optim: OptimConfig, environment: TrainingEnvironment
) -> TrainedModel:
    data = Validation.of(split, limit=None, seed=environment.seed)
    model: Trainable
    if config.kind == "lightgcn":
        model = LightGCN(data.train, factors, config.layers, seed=environment.seed)
    else:
        model = MatrixFactorization((*data.train.shape, factors), seed=environment.seed)
    return fit(model, [], data, optim, environment)
