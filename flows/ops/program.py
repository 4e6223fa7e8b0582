"""``python -P -m flows.ops.program COMMAND``: becomes COMMAND, once nothing is left of a process of its name before it.

supervisord starts a program anew that was killed, but does not know what that one had started: MLflow's server process
would keep the port, and a run goes on that no worker looks after. Such a run is told to stop, and goes on when it is run again.
"""

from __future__ import annotations

import os
import sys

from flows.ops.processes import end
from tasks.runtime.server_state import MARK, PROGRAM, environment_of, marked

LEFT_SECONDS = 60.0
"""How long what is left may take to end by itself: a run that is killed instead shows as Running until it is missed."""


def main() -> None:
    """End what is left, and become the command."""
    others = [process for process in marked(os.environ[MARK]) if process.pid != os.getpid()]
    end([p for p in others if environment_of(p.pid).get(PROGRAM) == os.environ[PROGRAM]], LEFT_SECONDS)
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
