"""The command line `freqd`."""

from __future__ import annotations

import sys
from collections.abc import Callable

from cyclopts import App, CycloptsError
from rich.console import Console

import freqd
from flows.commands.backfill import backfill
from flows.commands.cadence import cadence
from flows.commands.common import DONE, WRONG_INPUT
from flows.commands.compare import compare
from flows.commands.data import data_app
from flows.commands.drift import drift
from flows.commands.look import doctor, settings
from flows.commands.models import audit, models_app, promote, rollback
from flows.commands.run import report, run, stage
from flows.commands.serving import explain, export, recommend, serve
from flows.commands.stack import deploy, down, logs, schedule_app, status, up
from flows.commands.tune import tune
from freqd.errors import InputError

app = App(
    name="freqd",
    help="Teach a small recommender to rank like a big one, and put it into production on your own machines.",
    version=freqd.__version__,
    help_format="plaintext",
)
COMMANDS: tuple[Callable[..., int] | App, ...] = (
    *(run, stage, report, backfill, cadence, compare, tune, data_app, settings, doctor),
    *(serve, recommend, export, explain),
    *(models_app, promote, rollback, audit, drift),
    *(up, status, logs, down, deploy, schedule_app),
)
for command in COMMANDS:
    app.command(command)


def main() -> None:
    """Entry point: exit code 0 done, 2 the user's input is wrong, 1 anything else."""
    from tasks.environment import silence

    silence()
    errors = Console(stderr=True, highlight=False)
    try:
        code = app(exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        errors.print(f"freqd: {error}", markup=False, soft_wrap=True)
        sys.exit(WRONG_INPUT)
    except InputError as error:
        errors.print(f"freqd: {error}", markup=False, soft_wrap=True)
        sys.exit(WRONG_INPUT)
    except KeyboardInterrupt:
        errors.print("freqd: interrupted; the same command goes on where it stopped")
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else DONE)
