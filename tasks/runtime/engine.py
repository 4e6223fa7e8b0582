"""Where stages run: in this process, in processes beside it, or on the machines of a Ray cluster.

Within ``engine`` the jobs of ``side_by_side`` run beside each other. A job is a chain of stages: it waits in a thread of this
process, and each of its stages runs as a Prefect task where the engine says. On Ray every stage does, also one that is called alone,
which gets a whole node; on one machine those stay in this process. What a stage computes is the same everywhere.
"""

from __future__ import annotations

import contextvars
import importlib.util
import inspect
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import psutil
from prefect import Task
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner

from freqd import plugins
from freqd.config import EngineConfig
from freqd.engine import HERE, Engine
from freqd.errors import InputError
from tasks.run_context import RunContext
from tasks.runtime import progress, stopping
from tasks.runtime.workspace import Workspace

R = TypeVar("R")


@dataclass(frozen=True)
class _Engine:
    """An engine at work.

    Attributes:
        runner: of Prefect's; it takes tasks from any thread.
        workers: how many tasks it does at a time.
        away: whether a stage that is called now runs there.
        threads: CPU threads of a stage that is called alone; None for those of the run.
        job_threads: of one that is part of a job; None for an equal share of the run's.
        blocks: whether the blocks of a stage are done on other machines too.
        claim: for the time of a submission, claims so many CPUs for what is submitted.
    """

    runner: TaskRunner[Any]
    workers: int
    away: bool
    threads: int | None = None
    job_threads: int | None = None
    blocks: bool = True
    claim: Callable[[int], AbstractContextManager[object]] = nullcontext


_engine: ContextVar[_Engine | None] = ContextVar("engine", default=None)


def call(task: Task[..., Any], run: RunContext, /, *args: object, **kwargs: object) -> object:
    """What a task returns whose first parameter is ``run``; done where stages run that are called now."""
    found = _engine.get()
    if found is None or not found.away:
        state: Any = task(run, *args, return_state=True, **kwargs)
        return state.result()
    threads = found.threads or max(run.threads // found.workers, 1)
    own = run.model_copy(update={"threads": threads, "blocks": found.blocks})
    given = inspect.signature(task.fn).bind(own, *args, **kwargs)
    with found.claim(threads):
        future = found.runner.submit(task, dict(given.arguments))
    return future.result()


def at_a_time() -> int:
    """How many jobs are done beside each other."""
    found = _engine.get()
    return 1 if found is None else found.workers


@contextmanager
def engine(config: EngineConfig, workspace: Workspace) -> Iterator[None]:
    """Let the stages of a flow run where the settings say; processes and connections are closed at the end.

    A flow within another one has the engine of that.

    Raises:
        InputError: there is no such cluster, or it is not fit for it; or Ray is not installed.
    """
    with ExitStack() as stack:
        found = None if _engine.get() is not None else _opened(stack, config, workspace)
        if found is not None:
            stack.callback(_engine.reset, _engine.set(found))
        yield


def _opened(stack: ExitStack, config: EngineConfig, workspace: Workspace) -> _Engine | None:
    if config.kind == "ray":
        require_ray()
        from tasks.runtime import ray_engine

        cluster = stack.enter_context(ray_engine.connected(config, workspace))
        return _Engine(
            cluster.runner,
            config.workers or ray_engine.cpus(),
            away=True,
            threads=max(node.cpus for node in cluster.nodes),
            job_threads=1,
            claim=ray_engine.claim,
        )
    workers = config.workers or 1
    if workers == 1:
        return None
    pool = ProcessPoolTaskRunner(workers, initializer=begin_worker, initargs=(plugins.loaded_files(),))
    return _Engine(stack.enter_context(pool), workers, away=False)


def _end_workers() -> None:
    """Tell the processes of a pool to end; what they do resumes from its checkpoint."""
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if any("multiprocessing.spawn" in word for word in child.cmdline()):
                child.terminate()


def begin_worker(files: Sequence[Path]) -> None:
    """In a process that does tasks: it ends as the run does, the terminal is shared, and what the user's plugins provide is known."""
    stopping.install()
    progress.one_of_several()
    plugins.load_files(files)


def require_ray() -> None:
    """See that Ray is installed.

    Raises:
        InputError: it is not.
    """
    if importlib.util.find_spec("ray") is None or importlib.util.find_spec("prefect_ray") is None:
        raise InputError(
            "engine.kind is ray, but Ray is not installed",
            'install it with `pip install "freqd[ray]"`, or take engine.kind=local',
        )


def blocks_of_run(run: RunContext, told: Callable[[int, int], None]) -> Engine:
    """What does blocks inside of a stage of this run; ``told`` as for ``blocks_on``."""
    return blocks_on(run.engine, told) if run.blocks else HERE


def blocks_on(config: EngineConfig, told: Callable[[int, int], None] = lambda done, count: None) -> Engine:
    """What does blocks inside of a stage.

    Args:
        told: how many are done, and of how many, where other machines do them.
    """
    if config.kind == "local":
        return HERE
    from tasks.runtime.ray_engine import RayBlocks

    return RayBlocks(config.retries, told)


def side_by_side(jobs: Sequence[Callable[[], R]]) -> list[R]:
    """What the jobs give, in their order; as many are done at a time as the engine has workers.

    After the first error no further job begins; it is raised when none is under way any more.
    """
    return list(in_order(jobs))


def in_order(jobs: Sequence[Callable[[], R]]) -> Iterator[R]:
    """The same one by one. Without other workers a job begins when it is asked for.

    Where the jobs alone keep the workers busy, the blocks of their stages stay where the stages are.
    """
    found = _engine.get()
    if found is None:
        yield from (job() for job in jobs)
        return
    threads = ThreadPoolExecutor(found.workers, "jobs")
    away = replace(found, away=True, threads=found.job_threads, blocks=len(jobs) < found.workers)

    def begin(job: Callable[[], R]) -> R:
        _engine.set(away)
        return job()

    with threads:
        futures = [threads.submit(contextvars.copy_context().run, begin, job) for job in jobs]
        try:
            for future in futures:
                yield future.result()
        except BaseException as error:
            if not isinstance(error, Exception):  # the run is told to stop, or nobody asks for more
                _end_workers()
            raise
        finally:
            for future in futures:
                future.cancel()
            wait(futures)
