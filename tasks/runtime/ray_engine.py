"""A cluster of Ray as the engine: stages are tasks of Prefect's runner on it, blocks inside of them are Ray's own.

A Ray task costs 3.5 ms, a Prefect task on Ray .1 s: so stages, of which there are few, are the one and blocks the other. Work that
is lost with its node is done again. Ray keeps one copy of what blocks share on each node, in shared memory.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
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
from freqd.crew import Crew, Held, LostWorkerError, Spread
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
        told: how many blocks are done, and of how many.
    """

    here = False

    def __init__(self, retries: int, told: Callable[[int, int], None] = lambda done, count: None) -> None:
        self.retries = retries
        self._told = told

    def share(self, value: object) -> Any:
        """Put into Ray's store."""
        return ray.put(value)

    def map(self, work: Callable[..., R], blocks: Sequence[Any], *shared: object) -> Iterator[R]:
        """``work(block, *shared)`` of every block; some more than there are CPUs are asked for ahead."""
        task = ray.remote(_alone).options(num_cpus=1, max_retries=self.retries, scheduling_strategy="SPREAD")
        there = [value if isinstance(value, ray.ObjectRef) else ray.put(value) for value in shared]
        waiting: deque[ray.ObjectRef[R]] = deque()
        left = iter(blocks)
        for number in range(1, len(blocks) + 1):
            for block in islice(left, max(IN_FLIGHT * cpus() - len(waiting), 0)):
                waiting.append(task.remote(work, block, *there))
            found = ray.get(waiting.popleft())
            self._told(number, len(blocks))
            yield found

    @contextmanager
    def crew(self, make: Callable[..., object], parts: Sequence[object], *shared: object) -> Iterator[Crew]:
        """The things in actors, one for each CPU of the cluster as long as there are parts for them.

        Actors claim no CPU: the stage that asks them waits meanwhile, and two stages that wait for each other's would wait forever.
        """
        nodes = [
            node["NodeID"] for node in ray.nodes() if node["Alive"] for _ in range(int(node["Resources"].get("CPU", 0)))
        ]
        count = min(len(parts), len(nodes))
        there = [ray.put(value) for value in shared]
        actors = [
            ray.remote(_Actor)
            .options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(nodes[number], soft=False))
            .remote(make, [ray.put(parts[k]) for k in range(number, len(parts), count)], there)
            for number in range(count)
        ]

        def ask(*message: object) -> list[list[Any]]:
            try:
                sent = ray.put(message)
                found: list[list[Any]] = ray.get([actor.each.remote(sent) for actor in actors])
            except ray.exceptions.RayActorError as error:
                raise LostWorkerError.made() from error
            return found

        try:
            yield Spread(ask, len(parts))
        finally:
            for actor in actors:
                ray.kill(actor)


class _Actor:
    """Things on some node, on one thread."""

    def __init__(self, make: Callable[..., Any], parts: Sequence[Any], shared: Sequence[Any]) -> None:
        with limited(1):
            self._held = Held(make, ray.get(list(parts)), ray.get(list(shared)))

    def each(self, message: tuple[Any, ...]) -> list[Any]:
        """As ``Held``."""
        with limited(1):
            return self._held.each(*message)


def _alone(work: Callable[..., R], block: object, *shared: object) -> R:
    with limited(1):
        return work(block, *shared)


def claim(count: int) -> AbstractContextManager[object]:
    """So many CPUs of one node for the stages that are submitted meanwhile."""
    options: AbstractContextManager[object] = remote_options(num_cpus=count)
    return options


def cpus() -> int:
    """CPUs of the cluster as it is now, at least one."""
    return max(int(ray.cluster_resources().get("CPU", 1)), 1)


class Node(NamedTuple):
    """What a node says of itself."""

    host: str
    code: str
    sees: bool
    cpus: int = 0
    memory: int = 0
    cpu: str = ""


class Connection(NamedTuple):
    """To a cluster: what takes stages to it, and its nodes with CPUs for work."""

    runner: TaskRunner[Any]
    nodes: list[Node]


def load_plugins() -> None:
    """What each process begins with that Ray starts for a run with plugins."""
    plugins.load_files(Path(file) for file in os.environ[PLUGINS].split(os.pathsep))


@contextmanager
def connected(config: EngineConfig, workspace: Workspace) -> Iterator[Connection]:
    """A cluster of which every node is known to be fit for it.

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
        nodes = check_nodes(workspace)
        with (
            remote_options(num_cpus=1, max_retries=config.retries, scheduling_strategy="SPREAD"),
            RayTaskRunner() as runner,  # of the connection that is there
        ):
            yield Connection(runner, nodes)
    finally:
        ray.shutdown()


def check_nodes(workspace: Workspace) -> list[Node]:
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
        answers = []
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
            answers.append(found)
        return answers
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


def _look(probe: str, token: str) -> Node:
    try:
        sees = Path(probe).read_text() == token
    except OSError:
        sees = False
    facts = provenance.environment()
    own = ray.get_runtime_context().get_node_id()
    (cpus,) = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["NodeID"] == own]
    return Node(os.uname().nodename, code(), sees, cpus, facts.memory_bytes, facts.cpu)
