"""Settings of what people read."""

from __future__ import annotations

from pydantic import Field

from freqd.config.base import Settings


class ReportConfig(Settings):
    """What the report shows beside the numbers."""

    samples: int = Field(
        5,
        ge=0,
        le=50,
        description="Users that the report shows under pseudonyms: what they had, what they took in the test, and what each "
        "model recommends. Only in runs/NAME on this machine, never in MLflow or Prefect; 0 switches it off.",
    )
