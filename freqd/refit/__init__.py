"""Whether a student that was trained again on all interactions may be deployed in the place of the judged one."""

from typing import TYPE_CHECKING

from freqd.lazy import lazily

if TYPE_CHECKING:
    from freqd.refit.checks import check_refit
    from freqd.refit.report import RefitReport, report_of

__all__ = ["RefitReport", "check_refit", "report_of"]
__getattr__ = lazily(__name__, {"RefitReport": "report", "check_refit": "checks", "report_of": "report"})
