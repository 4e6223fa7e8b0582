"""How fast a model ages: windows in time, models judged on windows that came after them, and how often to retrain."""

from freqd.cadence.aging import Sample, StalenessEffect, aging, compared
from freqd.cadence.judge import Judged, Question, WindowCounts, judge_window
from freqd.cadence.recommend import Advice, recommend
from freqd.cadence.timeline import Timeline, Window, check_settings, plan

__all__ = [
    "Advice",
    "Judged",
    "Question",
    "Sample",
    "StalenessEffect",
    "Timeline",
    "Window",
    "WindowCounts",
    "aging",
    "check_settings",
    "compared",
    "judge_window",
    "plan",
    "recommend",
]
