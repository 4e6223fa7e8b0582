"""What the searches of teachers share."""

from __future__ import annotations

SAMPLE_USERS = 3000
"""Users whose validation NDCG@10 steers a search; a full ranking of more would take longer than most trainings."""
