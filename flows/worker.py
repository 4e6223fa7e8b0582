"""``python -P -m flows.worker POOL NAME``: the program of the worker, see ``flows.own_flows``."""

from __future__ import annotations

import asyncio
import os
import sys

from tasks.environment import introduce
from tasks.workspace import Workspace


def main() -> None:
    """Work until SIGTERM."""
    os.umask(0o077)
    introduce(Workspace.locate(None))  # before Prefect reads its settings
    from flows.own_flows import work

    asyncio.run(work(*sys.argv[1:3]))


if __name__ == "__main__":
    main()
