"""A cluster of Ray as the engine: stages are tasks of Prefect's runner on it, blocks inside of them are Ray's own.

A Ray task costs 3.5 ms, a Prefect task on Ray .1 s: so stages, of which there are few, are the one and blocks the other. Work that
is lost with its node is done again. Ray keeps one copy of what blocks share on each node, in shared memory.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import ray
from prefect.task_runners import TaskRunner
from prefect_ray.context import remote_options
from prefect_ray.task_runners import RayTaskRunner
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from freqd import plugins, provenance
from freqd.config import EngineConfig
from freqd.errors import InputError
from freqd.numerics.threads import limited
from tasks.runtime.environment import SWITCHES
from tasks.runtime.server_state import LOOPBACK
from tasks.runtime.workspace import Workspace

R = TypeVar("R")

IN_FLIGHT = 2
"""Blocks that are asked for at a time, for each CPU of the cluster."""

TRAVELS = (*SWITCHES, "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "FREQD_DATA_DIR")
"""Variables of the environment that a process on another machine gets; Prefect sends its own."""

PLUGINS = "FREQD_PLUGIN_FILES"
"""Where a process on another machine finds the files of the user's plugins, which all machines must see under the same path."""

PATIENCE = 120.0
"""Seconds in which a node has to answer before a run begins."""


class RayBlocks:
    """Blocks as Ray tasks of one CPU and one thread each.

    Args:
        retries: how often a block that was lost with its node is done again.
    """

    here = False

    def __init__(self, retries: int) -> None:
        self._retries = retries

    def share(self, value: object) -> Any:
        """Put into Ray's store."""
        return ray.put(value)

    def map(self, work: Callable[..., R], blocks: Sequence[Any], *shared: object) -> Iterator[R]:
        """``work(block, *shared)`` of every block; some more than there are CPUs are asked for ahead."""
        task = ray.remote(_alone).options(num_cpus=1, max_retries=self._retries, scheduling_strategy="SPREAD")
        there = [value if isinstance(value, ray.ObjectRef) else ray.put(value) for value in shared]
        waiting: deque[ray.ObjectRef[R]] = deque()
        for block in blocks:
            waiting.append(task.remote(work, block, *there))
            if len(waiting) >= IN_FLIGHT * cpus():
                yield ray.get(waiting.popleft())
        while waiting:
            yield ray.get(waiting.popleft())


def _alone(work: Callable[..., R], block: object, *shared: object) -> R:
    with limited(1):
        return work(block, *shared)


def cpus() -> int:
    """CPUs of the cluster as it is now, at least one."""
    return max(int(ray.cluster_resources().get("CPU", 1)), 1)


class _Node(NamedTuple):
    """What a node says of itself."""

    host: str
    code: str
    sees: bool


def load_plugins() -> None:
    """What each process begins with that Ray starts for a run with plugins."""
    plugins.load_files(Path(file) for file in os.environ[PLUGINS].split(os.pathsep))


@contextmanager
def connected(config: EngineConfig, workspace: Workspace) -> Iterator[TaskRunner[Any]]:
    """A runner of stages on the cluster, once every node is known to be fit for it.

    Raises:
        InputError: there is no such cluster, it has no CPUs, or a node does not see the working directory or has other code.
    """
    variables = {name: os.environ[name] for name in TRAVELS if name in os.environ}
    runtime: dict[str, Any] = {"env_vars": variables}
    if files := plugins.loaded_files():
        variables[PLUGINS] = os.pathsep.join(map(str, files))
        runtime["worker_process_setup_hook"] = f"{__name__}.load_plugins"
    settings = {"log_to_driver": False, "logging_level": "ERROR", "runtime_env": runtime}
    try:
        if config.address != "auto":
            host, _, port = config.address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()  # Ray itself would try for minutes
        ray.init(address=config.address, **settings)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"no cluster of Ray at {config.address}: {error}",
            "start one on this machine with `ray start --head --num-cpus=0`, on the others with `ray start --address=HOST:6379`, see "
            "docs/cluster.md",
        ) from error
    try:
        check_nodes(workspace)
        with (
            remote_options(num_cpus=1, max_retries=config.retries, scheduling_strategy="SPREAD"),
            RayTaskRunner() as runner,  # of the connection that is there
        ):
            yield runner
    finally:
        ray.shutdown()


def check_nodes(workspace: Workspace) -> None:
    """See that each node with CPUs runs this code and sees this working directory.

    Raises:
        InputError: one does not, or there is none.
    """
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    if not nodes:
        raise InputError(
            "no node of the cluster has a CPU for work", "start another node with `ray start --address=HOST:6379`"
        )
    hosts = [str(node["NodeManagerHostname"]) for node in nodes]
    check_servers(hosts)
    mine, token = code(), os.urandom(8).hex()
    probe = workspace.root / f".cluster-{token}"
    probe.write_text(token)
    try:
        asked = [
            ray.remote(_look)
            .options(num_cpus=1, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False))
            .remote(str(probe), token)
            for node in nodes
        ]
        for host, answer in zip(hosts, asked, strict=True):
            try:
                found = ray.get(answer, timeout=PATIENCE)
            except ray.exceptions.GetTimeoutError:
                raise InputError(
                    f"node {host} of the cluster has not answered within {PATIENCE:.0f} seconds",
                    "see whether it is busy with other work",
                ) from None
            except ray.exceptions.RayError as error:
                raise InputError(
                    f"node {host} of the cluster cannot run freqd: {str(error).strip().splitlines()[-1]}",
                    "install the same freqd[ray] there",
                ) from error
            if not found.sees:
                raise InputError(
                    f"node {host} of the cluster does not see the working directory {workspace.root}",
                    "put it on a folder that all machines share under the same path (NFS), and name it with --workdir",
                )
            if found.code != mine:
                raise InputError(
                    f"node {host} of the cluster has other code than this machine ({found.code[:12]}, here {mine[:12]})",
                    "install the same version of freqd on all machines, and restart Ray there",
                )
    finally:
        probe.unlink(missing_ok=True)


def check_servers(hosts: Iterable[str]) -> None:
    """See that the servers are where nodes on other machines reach them.

    Raises:
        InputError: they are not.
    """
    others = sorted(set(hosts) - {os.uname().nodename})
    for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
        url = urlsplit(os.environ.get(name, ""))
        if others and (not url.scheme.startswith("http") or url.hostname in LOOPBACK):
            raise InputError(
                f"node {others[0]} of the cluster cannot reach the server of {name}, which is "
                f"{'not set' if not os.environ.get(name) else 'for this machine alone'}",
                "start the servers where all machines reach them, and set PREFECT_API_URL and MLFLOW_TRACKING_URI to their addresses; "
                "docs/cluster.md says how",
            )


def code() -> str:
    """Digest of all of freqd's code on this machine."""
    return provenance.code_digest(["freqd.*", "tasks.*"])


def _look(probe: str, token: str) -> _Node:
    try:
        sees = Path(probe).read_text() == token
    except OSError:
        sees = False
    return _Node(os.uname().nodename, code(), sees)
