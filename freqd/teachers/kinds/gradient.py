"""BPR and LightGCN: trained by gradients for each number of factors, smallest first."""

from __future__ import annotations

from dataclasses import replace

from freqd.config import TeacherConfig
from freqd.data.interactions import Split
from freqd.embeddings import ModelInfo, TrainedModel, Trial
from freqd.teachers.kinds._budget import budget_warnings, work_folder
from freqd.teachers.previous_model import PreviousModel
from freqd.teachers.registry import teacher
from freqd.teachers.trajectory import TrajectoryRecorder
from freqd.training.environment import TrainingEnvironment


def refit_gradient(
    split: Split,
    config: TeacherConfig,
    environment: TrainingEnvironment,
    judged: TrainedModel,
    previous: PreviousModel | None,
) -> TrainedModel:
    """The judged size, up to its best epoch."""
    from freqd.teachers.gradient import refit_by_gradient  # late, as below

    return refit_by_gradient(split, config, judged, environment)


@teacher("bpr", keeps_trajectory=True, refit=refit_gradient)
def train_bpr(split: Split, config: TeacherConfig, environment: TrainingEnvironment) -> TrainedModel:
    """Matrix factorisation with BPR, for each number of factors."""
    return _size_by_size(split, config, environment)


@teacher("lightgcn", keeps_trajectory=True, refit=refit_gradient)
def train_lightgcn(split: Split, config: TeacherConfig, environment: TrainingEnvironment) -> TrainedModel:
    """LightGCN, for each number of factors."""
    return _size_by_size(split, config, environment)


def _size_by_size(split: Split, config: TeacherConfig, environment: TrainingEnvironment) -> TrainedModel:
    """Train BPR or LightGCN for each number of factors, smallest first, while the budget lasts."""
    from freqd.teachers.gradient import train_by_gradient  # late: torch is not needed for the other kinds

    folder = work_folder(environment)
    folder.mkdir(parents=True, exist_ok=True)
    sizes = sorted(set(config.factors))
    best: TrainedModel | None = None
    best_way: TrajectoryRecorder | None = None
    trials: list[Trial] = []
    elapsed, cut = 0.0, False
    for number, factors in enumerate(sizes):
        expected = elapsed + trials[-1]["seconds"] * factors / trials[-1]["factors"] if trials else 0.0
        if config.search_seconds is not None and expected > config.search_seconds:
            break
        limit = None if config.max_seconds is None else (config.max_seconds - elapsed) / (len(sizes) - number)
        if trials and limit is not None and limit <= 0:
            break
        way = None
        if config.trajectory_points:
            where, train = folder / f"{config.kind}-{factors}-way", split.train.matrix()
            way = TrajectoryRecorder(where, train, points=config.trajectory_points, every=config.eval_every)
        own = replace(
            environment.piece(number, len(sizes), f"{factors} factors: "),
            checkpoint=folder / f"{config.kind}-{factors}.safetensors",
            observe=way,
        )
        model = train_by_gradient(split, config.model_copy(update={"max_seconds": limit}), factors, own)
        seconds = model.info["seconds"]  # of a resumed training, that of earlier runs included
        elapsed += seconds
        ndcg = model.info["valid_ndcg_at_10"]
        trials.append({"factors": factors, "valid_ndcg_at_10": ndcg, "seconds": round(seconds, 3)})
        cut = cut or model.info["stopped"] == "time"
        if best is None or ndcg > best.info["valid_ndcg_at_10"]:
            best, best_way = model, way
    assert best is not None  # the first size is always trained
    not_tried = len(sizes) - len(trials)
    info: ModelInfo = best.info | {
        "kind": config.kind,
        "factors": best.features.dim,
        "trials": trials,
        "seconds": elapsed,
        "budget_hit": cut or not_tried > 0,
        "not_tried": not_tried,
        "warnings": [
            *best.info.get("warnings", []),
            *budget_warnings(not_tried > 0, not_tried, config),
            *_cut_warnings(cut, config),
        ],
    }
    trajectory = best_way.trajectory(best.info["best_epoch"], best.features) if best_way else None
    return TrainedModel(best.features, best.history, info, best.extra, trajectory)


def _cut_warnings(cut: bool, config: TeacherConfig) -> list[str]:
    if not cut:
        return []
    return [
        f"a training of the teacher was stopped by its time budget of {config.max_seconds or 0:g} s while it may still have "
        "improved; raise teacher.max_seconds, or budget_minutes if that is what set it"
    ]
