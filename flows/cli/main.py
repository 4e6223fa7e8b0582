"""The command line `freqd`."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature

from cyclopts import (
    App,
    CycloptsError,
    Group,
    MissingArgumentError,
    UnknownOptionError,
    UnusedCliTokensError,
)
from rich.console import Console

import freqd
from flows.cli.alerts import alerts
from flows.cli.backfill import backfill
from flows.cli.cadence import cadence
from flows.cli.clean import clean
from flows.cli.compare import compare
from flows.cli.data import data_app
from flows.cli.drift import drift
from flows.cli.explain import explain
from flows.cli.export import export
from flows.cli.init import init
from flows.cli.methods import methods
from flows.cli.models import audit, models_app, promote, rollback
from flows.cli.online import online
from flows.cli.options import DONE, WRONG_INPUT
from flows.cli.output import say
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
    help_epilogue="Exit codes: 0 done; 1 it could not be done, or (status, doctor, audit) not all is well; 2 the input is wrong; 3 drift, "
    "with `freqd drift --fail`; 130 and 143 stopped. `freqd COMMAND --help` shows a command with an example; the guide is docs/guide.md.",
    help_format="plaintext",
    group_commands=Group("Options", sort_key=99),
)
Command = Callable[..., int] | App
COMMANDS: dict[str, tuple[tuple[Command, str], ...]] = {
    "Train": (
        (init, "freqd init purchases.csv --items items.csv"),
        (run, "freqd run --data purchases.csv"),
        (compare, "freqd compare --data purchases.csv --methods rce,freqd+rce --seeds 3"),
        (tune, "freqd tune --data purchases.csv --method rce --trials 20"),
        (backfill, "freqd backfill 2026-01-01 2026-03-31 --every 7d --data purchases.csv"),
        (cadence, "freqd cadence --data purchases.csv"),
        (stage, "freqd stage distill --from last"),
    ),
    "Look": (
        (report, "freqd report last"),
        (models_app, "freqd models compare champion 3"),
        (online, "freqd online --days 14"),
        (explain, "freqd explain 42 1082185"),
        (audit, "freqd audit"),
        (data_app, "freqd data check purchases.csv"),
        (methods, "freqd methods"),
        (settings, "freqd settings distill"),
    ),
    "Operate": (
        (up, "freqd up"),
        (status, "freqd status"),
        (logs, "freqd logs worker --lines 100"),
        (down, "freqd down"),
        (schedule_app, 'freqd schedule --cron "0 3 * * 1" --config shop.toml'),
        (deploy, "freqd deploy --config shop.toml"),
        (drift, "freqd drift --new new.csv"),
        (alerts, "freqd alerts --to ops@example.org --smtp smtp://mail.example.org:587"),
        (promote, 'freqd promote 3 --why "agreed with the shop team"'),
        (rollback, 'freqd rollback --why "complaints since Monday"'),
        (clean, "freqd clean --older-than 30d"),
        (doctor, "freqd doctor"),
    ),
    "Serve": (
        (serve, "freqd serve --port 8000"),
        (recommend, "freqd recommend --out lists.parquet --k 20"),
        (export, "freqd export --out student.npz"),
    ),
}
"""By what they are for, with an example each."""
for place, (title, commands) in enumerate(COMMANDS.items()):
    group = Group(title, sort_key=place)
    for rank, (command, example) in enumerate(commands):
        epilogue = f"Example: {example}"
        if isinstance(command, App):
            command.group, command.help_epilogue, command.sort_key = group, epilogue, rank
            command.group_commands = Group("Commands")
            app.command(command)
        else:
            app.command(command, group=group, help_epilogue=epilogue, sort_key=rank)
app.register_install_completion_command(help="Let the shell complete freqd's commands and options.")


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
        say(f"freqd: {_explain(error)}", errors)
        return WRONG_INPUT
    except BrokenPipeError:
        raise
    except Exception as error:
        from tasks.runtime.errors import translate

        mine = translate(error)
        if mine is None:
            raise
        say(f"freqd: {mine}", errors)
        return WRONG_INPUT
    return code if isinstance(code, int) else DONE
