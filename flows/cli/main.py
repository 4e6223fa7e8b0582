"""The command line `freqd`."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature

from cyclopts import (
    App,
    CycloptsError,
    MissingArgumentError,
    UnknownOptionError,
    UnusedCliTokensError,
)
from rich.console import Console

import freqd
from flows.cli.backfill import backfill
from flows.cli.cadence import cadence
from flows.cli.clean import clean
from flows.cli.compare import compare
from flows.cli.data import data_app
from flows.cli.drift import drift
from flows.cli.explain import explain
from flows.cli.export import export
from flows.cli.methods import methods
from flows.cli.models import audit, models_app, promote, rollback
from flows.cli.options import DONE, WRONG_INPUT
from flows.cli.recommend import recommend
from flows.cli.run import report, run, stage
from flows.cli.serve import serve
from flows.cli.settings import doctor, settings
from flows.cli.stack import deploy, down, logs, schedule_app, status, up
from flows.cli.tune import tune
from freqd.errors import InputError

app = App(
    name="freqd",
    help="Teach a small recommender to rank like a big one, and put it into production on your own machines.",
    version=freqd.__version__,
    help_format="plaintext",
)
COMMANDS: tuple[Callable[..., int] | App, ...] = (
    *(run, stage, report, backfill, cadence, compare, tune, methods, data_app, settings, doctor),
    *(serve, recommend, export, explain),
    *(models_app, promote, rollback, audit, drift),
    *(up, status, logs, down, deploy, schedule_app, clean),
)
for command in COMMANDS:
    app.command(command)


def _explain(error: CycloptsError) -> InputError:
    """A line that does not fit the command, in the user's words, with the place where the command is described."""
    line = " ".join(["freqd", *(error.command_chain or ())])
    remedy = f"see `{line} --help`"
    argument = error.argument
    name = argument.name if argument is not None else ""
    if argument is not None and argument.parameter.help and not isinstance(error, UnknownOptionError):
        name = name if name in map(str, error.root_input_tokens or ()) else _label(name)
        remedy = f"{name}: {argument.parameter.help} See `{line} --help`"
    if isinstance(error, MissingArgumentError):
        given = error.keyword is not None or bool(argument is not None and argument.tokens)
        return InputError(f"{error.keyword or name} needs a value" if given else f"`{line}` needs {name}", remedy)
    if isinstance(error, UnusedCliTokensError):
        words = ", ".join(repr(word) for word in error.unused_tokens or ())
        if error.target is not None and "data" in signature(error.target).parameters:
            remedy = f"data are named with --data; {remedy}"
        return InputError(f"`{line}` does not know what to do with {words}", remedy)
    return InputError(str(error), remedy)


def _label(name: str) -> str:
    """Arguments that stand by their place have names in capitals, without hyphens."""
    bare = name.lstrip("-")
    return bare if bare.isupper() else name


def command_line() -> int:
    """Carry out what the user typed; the exit code: 0 done, 2 the user's input is wrong, 1 anything else."""
    from tasks.runtime.environment import silence

    silence()
    errors = Console(stderr=True, highlight=False)
    try:
        code = app(exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        errors.print(f"freqd: {_explain(error)}", markup=False, soft_wrap=True)
        return WRONG_INPUT
    except BrokenPipeError:
        raise
    except Exception as error:
        from tasks.runtime.errors import translate

        mine = translate(error)
        if mine is None:
            raise
        errors.print(f"freqd: {mine}", markup=False, soft_wrap=True)
        return WRONG_INPUT
    return code if isinstance(code, int) else DONE
