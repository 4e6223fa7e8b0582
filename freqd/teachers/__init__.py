"""Teachers: trained here, or external embeddings."""

from typing import TYPE_CHECKING

from freqd.lazy import lazily

if TYPE_CHECKING:
    from freqd.teachers.external import load_features
    from freqd.teachers.kinds import REGISTRY, teacher
    from freqd.teachers.training import check_teacher, refit_teacher, train_teacher

__all__ = ["REGISTRY", "check_teacher", "load_features", "refit_teacher", "teacher", "train_teacher"]
__getattr__ = lazily(
    __name__,
    {
        "REGISTRY": "kinds",
        "check_teacher": "training",
        "load_features": "external",
        "refit_teacher": "training",
        "teacher": "kinds",
        "train_teacher": "training",
    },
)
