"""`freqd alerts`: who is told when a run fails, a model is refused, users drift, or a schedule falls silent."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from flows.cli.options import BROKEN, DONE, Workdir, workspace_of
from flows.cli.output import AsJson, say, say_json, say_table
from flows.cli.stack import require_server
from freqd.errors import InputError

if TYPE_CHECKING:
    from tasks.runtime.workspace import Workspace

PASSWORD = "FREQD_SMTP_PASSWORD"


def alerts(
    *,
    to: Annotated[
        list[str] | None,
        Parameter(
            consume_multiple=True, help="E-mail addresses, or URLs of webhooks (Slack, Teams, Mattermost, your own)."
        ),
    ] = None,
    smtp: Annotated[str | None, Parameter(help="Mail server, smtp://USER@HOST:587 or smtps://USER@HOST:465.")] = None,
    password_file: Annotated[
        Path | None,
        Parameter(help="File with the password of the mail server's user [the variable FREQD_SMTP_PASSWORD]."),
    ] = None,
    sender: Annotated[str | None, Parameter(name="--from", help="Sender of e-mail [freqd at this machine].")] = None,
    test: Annotated[bool, Parameter(negative="", help="Send a message now, to see whether it arrives.")] = False,
    off: Annotated[bool, Parameter(negative="", help="Send no more alerts, and forget where they went.")] = False,
    as_json: AsJson = False,
    workdir: Workdir = None,
) -> int:
    """Show where alerts go; with --to let the Prefect server send them, on failed runs, refused models, drift and silent schedules.

    Alerts hold no id of a user or an item. Addresses and the password lie in alerts.json of the working directory, which
    only you can read. Each alert is an automation of the Prefect page, where it can be paused.
    """
    from tasks.runtime import alerts as channels

    workspace = workspace_of(workdir)
    if off and (to or test):
        raise InputError("--off takes away what --to and --test need", "give one of them")
    if to:
        _require_own_server(workspace)
    if to or off:
        require_server(workspace)
        from flows.ops import alerting
    if off:
        alerting.switch_off()
        channels.file_of(workspace).unlink(missing_ok=True)
        say("no more alerts are sent")
        return DONE
    if to:
        password = _password(password_file)
        found = [channels.channel_of(name, smtp, sender, password) for name in to]
        channels.keep(workspace, found)
        about = alerting.switch_on(workspace)
        if not as_json:
            say(f"alerts on {', '.join(about)} go to:")
    known = channels.channels_of(workspace)
    if test and not known:
        raise InputError(
            "nobody is told of anything",
            "say where alerts go: freqd alerts --to ops@example.org --smtp smtp://HOST:587",
        )
    failed = channels.send(known, "freqd: a test", f"Alerts of {workspace.root} arrive here.") if test else []
    switched = _switched(workspace)
    if as_json:
        shown = [{"to": channel.shown, "kind": channel.kind} for channel in known]
        say_json({"to": shown, "alerts": switched, "failed": failed})
    elif not known:
        say("nobody is told of anything; freqd alerts --to ops@example.org --smtp smtp://HOST:587 changes that")
    else:
        say_table(("alerts go to",), [(channel.shown,) for channel in known])
        if switched is None:
            say("the servers are down, so that none are sent; `freqd up` starts them")
        else:
            say()
            say_table(("alert on", "state"), list(switched.items()))
    for line in failed:
        say(f"freqd: not sent: {line}")
    if test and not failed and not as_json:
        say("a test message was sent")
    return BROKEN if failed else DONE


def _require_own_server(workspace: Workspace) -> None:
    """See that the server is one that knows freqd's alerts: that of `freqd up`, or of a unit on this machine.

    Raises:
        InputError: it is not.
    """
    from tasks.runtime.server_state import LOOPBACK, Stack, folder

    stack = Stack.read(workspace)
    if stack is not None and stack.supervised:
        if not stack.page:
            raise InputError("the servers were started by an earlier freqd", "restart them: freqd down, freqd up")
        return
    address = os.environ.get("PREFECT_API_URL", "")
    if address and not (
        address.startswith(tuple(f"http://{host}:" for host in LOOPBACK)) and (folder(workspace) / "token").is_file()
    ):
        raise InputError(
            f"the Prefect server {address} is not freqd's own, and does not know its alerts",
            "make notifications on that server's page, or run `freqd alerts` where freqd's server runs",
        )


def _switched(workspace: Workspace) -> dict[str, str] | None:
    """What there are alerts about and whether each is active; None while the server is down."""
    from tasks.runtime.server_state import reachable

    if not reachable(workspace):
        return None
    require_server(workspace)
    from flows.ops import alerting

    return {alert.about: "active" if alert.active else "paused" for alert in alerting.present()}


def _password(file: Path | None) -> str:
    """The password of the mail server's user; empty if none is given.

    Raises:
        InputError: the file cannot be read.
    """
    if file is None:
        return os.environ.get(PASSWORD, "")
    try:
        return file.expanduser().read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--password-file {file} cannot be read: {error}", "name a file with one line") from error
