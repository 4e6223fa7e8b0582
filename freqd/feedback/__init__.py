"""What users do with recommendations: kept by the service, and told by version of the model."""

from freqd.feedback.log import Event, EventLog, read_events
from freqd.feedback.online import OnlineResult, VersionOnline, judge_online

__all__ = ["Event", "EventLog", "OnlineResult", "VersionOnline", "judge_online", "read_events"]
