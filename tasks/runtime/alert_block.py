"""The Prefect block by which automations send alerts: it holds nothing, and reads where they go when it sends one.

The Prefect server that freqd starts imports it; another server does not know it and cannot send freqd's alerts.
"""

from __future__ import annotations

import asyncio

from prefect.blocks.abstract import NotificationBlock
from prefect.exceptions import PrefectException
from pydantic import Field

from tasks.runtime import alerts
from tasks.runtime.workspace import Workspace

NAME = "freqd-alerts"


class FreqdAlert(NotificationBlock):
    """Sends what an automation says to the addresses of `freqd alerts`."""

    _block_type_name = "freqd alert"
    _block_type_slug = "freqd-alert"

    workdir: str = Field(description="The working directory, which says where alerts go.")

    async def notify(self, body: str, subject: str | None = None) -> None:
        """Send a message to all addresses.

        Raises:
            PrefectException: one of them did not take it.
        """
        channels = alerts.channels_of(Workspace.locate(self.workdir))
        failed = await asyncio.to_thread(alerts.send, channels, subject or "freqd", body)
        if failed:
            raise PrefectException("; ".join(failed))
