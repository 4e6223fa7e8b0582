"""``python -P -m flows.ops.worker POOL NAME``: the program of the worker, see ``flows.ops.own_flows``."""

from __future__ import annotations

import asyncio
import os
import sys

from tasks.runtime.environment import introduce
from tasks.runtime.workspace import Workspace

POOL = "freqd"
"""The work pool of freqd's deployments."""


def main() -> None:
    """Work until SIGTERM."""
    os.umask(0o077)
    introduce(Workspace.locate(None))  # before Prefect reads its settings
    from flows.ops.own_flows import work

    asyncio.run(work(*sys.argv[1:3]))


if __name__ == "__main__":
    main()
