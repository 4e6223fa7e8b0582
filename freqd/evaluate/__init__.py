"""How good a recommender is: full ranking, accuracy, beyond accuracy, significance, latency."""

from freqd.evaluate.evaluation import evaluate
from freqd.evaluate.latency import scoring_latency
from freqd.evaluate.paired_groups import GroupDifferences, group_differences
from freqd.evaluate.ranking import top_k
from freqd.evaluate.result import Evaluation
from freqd.evaluate.significance import Difference, Interval, gap_closed, holm, paired_bootstrap
from freqd.evaluate.target_ranks import ndcg_on_validation
from freqd.evaluate.validation import Validation

__all__ = [
    "Difference",
    "Evaluation",
    "GroupDifferences",
    "Interval",
    "Validation",
    "evaluate",
    "gap_closed",
    "group_differences",
    "holm",
    "ndcg_on_validation",
    "paired_bootstrap",
    "scoring_latency",
    "top_k",
]
