"""What stands in production and what happens next, in one screen and as one page."""

from freqd.report.overview.facts import Overview

__all__ = ["Overview"]
