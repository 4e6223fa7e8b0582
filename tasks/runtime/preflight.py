"""What can be refused before anything is started or written."""

from __future__ import annotations

from freqd.config import RunConfig
from freqd.data import check
from freqd.data.checks import no_times
from freqd.data.item_table import read_items
from freqd.data.sources import own_bytes, timeless
from freqd.distill import check_objectives
from freqd.distill.shards import check_shards
from freqd.errors import InputError
from freqd.teachers.external import check_features
from freqd.teachers.external_lists import check_lists
from freqd.teachers.training import check_teacher
from tasks.earlier_run import check_start
from tasks.runtime.server_state import reachable
from tasks.runtime.workspace import Workspace

WHOLE_CHECK_BYTES = 64 * 2**20
"""The user's own files up to this size are read and checked as a whole; larger ones are when ingest reads them."""


def preflight(config: RunConfig, workspace: Workspace, run_name: str | None = None) -> None:
    """Check everything that the user gave.

    Args:
        config: settings of the run.
        workspace: its working directory.
        run_name: its name, if it was given one.

    Raises:
        InputError: files are missing, empty or useless, external embeddings, lists or the item table are broken, an objective or the kind of
            teacher does not exist, an approval is asked for where nobody could give it, data without times are wanted as of
            a day, the run to start from is not there or does not fit.
    """
    check_teacher(config.teacher)
    check_objectives(config.distill.objectives, config.teacher)
    check_shards(config.distill, config.device)
    if config.registry.enabled and config.registry.approval == "ask":
        require_page(workspace)
    _check_device(config.device)
    check_start(config, workspace, run_name)
    size, without_times = own_bytes(config.data), timeless(config.data)
    if config.data.as_of is not None and without_times is not None:
        raise no_times(without_times, config.data.as_of)
    if config.teacher.features is not None:
        check_features(config.teacher.features)
    if config.teacher.lists is not None:
        check_lists(config.teacher.lists)
    if config.data.items is not None:
        read_items(config.data)
    if 0 < size <= WHOLE_CHECK_BYTES:
        found = check(config.data, workspace.places, seed=config.seed)
        if not found.ok:
            raise InputError(found.problem, found.remedy)


def _check_device(device: str) -> None:
    if not device.startswith("cuda"):
        return
    import torch

    there, wanted = torch.cuda.device_count() if torch.cuda.is_available() else 0, int(device.partition(":")[2] or 0)
    if wanted >= there:
        raise InputError(
            f"device = {device!r}, but torch finds {f'{there} CUDA devices' if there else 'no CUDA device'}",
            "set device=auto or device=cpu, or install a torch built for your CUDA (see the Makefile)",
        )


def require_page(workspace: Workspace) -> None:
    """See that there is a Prefect page on which somebody can answer.

    Raises:
        InputError: there is none.
    """
    if not reachable(workspace):
        raise InputError(
            "registry.approval = 'ask' waits for an answer on the Prefect page, and the servers are down",
            "start them with `freqd up`, or leave registry.approval out and use `freqd promote`",
        )
