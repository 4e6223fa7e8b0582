"""The worker, which runs freqd's own flows and nothing else.

Of what the API says about *how* a run is started it takes nothing: no command, no environment, no working folder, no base job
template, no entrypoint, no pull steps, no process id. A run is one of ``flows.ops.execute.FLOWS`` or it is refused.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

import anyio.abc
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Failed
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult

from flows.ops.execute import RUN_VARIABLE, RefusedError, name_of, require_own

CHILD = (sys.executable, "-P", "-m", "flows.ops.execute")
LOOK_SECONDS = 2.0
"""How often the worker checks whether a run is to be cancelled."""
STOP_SECONDS = 20.0
"""How long a run has to end by itself, once it is told to."""


class Configuration(BaseJobConfiguration):
    """What a run is started with: nothing that the API says."""

    @classmethod
    async def from_template_and_values(cls, base_job_template: Any, values: Any, client: Any = None) -> Configuration:
        """Nothing of the template, and none of the values."""
        return cls()


class Outcome(BaseWorkerResult):
    """Of a run's process."""


class OwnFlowsWorker(BaseWorker[Configuration, BaseVariables, Outcome]):
    """Runs freqd's flows, each in a process of its own."""

    type = "process"
    job_configuration = Configuration

    async def run(
        self,
        flow_run: FlowRun,
        configuration: Configuration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> Outcome:
        """Start the process of a run and wait for it; a run that is not ours fails at once."""
        try:
            require_own(await self._name(flow_run))
        except RefusedError as error:
            self.get_flow_run_logger(flow_run).error("refused: %s", error)
            await self.client.set_flow_run_state(flow_run.id, Failed(message=f"refused: {error}"), force=True)
            if task_status is not None:
                task_status.started(0)
            return Outcome(identifier="refused", status_code=0)
        environment = {**os.environ, RUN_VARIABLE: str(flow_run.id)}
        process = await asyncio.create_subprocess_exec(*CHILD, env=environment, stdin=asyncio.subprocess.DEVNULL)
        if task_status is not None:
            task_status.started(process.pid)
        code = await self._wait(flow_run, process)
        return Outcome(identifier=str(process.pid), status_code=code)

    async def _name(self, flow_run: FlowRun) -> str | None:
        """Full name of the deployment that a run belongs to."""
        if flow_run.deployment_id is None:
            return None
        try:
            deployment = await self.client.read_deployment(flow_run.deployment_id)
            return name_of((await self.client.read_flow(deployment.flow_id)).name, deployment.name)
        except ObjectNotFound:
            return None

    async def _wait(self, flow_run: FlowRun, process: asyncio.subprocess.Process) -> int:
        """The exit code of a run's process, which is ended if somebody cancels the run."""
        while True:
            try:
                return await asyncio.wait_for(process.wait(), LOOK_SECONDS)
            except TimeoutError:
                pass
            except asyncio.CancelledError:  # the worker is told to stop
                _signal(process, signal.SIGTERM)
                raise
            if await self._to_be_cancelled(flow_run):
                _signal(process, signal.SIGTERM)
                try:
                    await asyncio.wait_for(process.wait(), STOP_SECONDS)
                except TimeoutError:
                    _signal(process, signal.SIGKILL)
                    await process.wait()
                await self.client.set_flow_run_state(
                    flow_run.id, Cancelled(message="cancelled; the same run again resumes where it stopped"), force=True
                )
                return 0

    async def _to_be_cancelled(self, flow_run: FlowRun) -> bool:
        try:
            state = (await self.client.read_flow_run(flow_run.id)).state
        except Exception as error:  # a server that is away for a while must not end the run
            self._logger.warning("the server does not answer: %s", error)
            return False
        return state is not None and state.type == StateType.CANCELLING


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    if process.returncode is None:
        process.send_signal(number)


async def work(pool: str, name: str) -> None:
    """Work until SIGTERM."""
    worker = OwnFlowsWorker(work_pool_name=pool, name=name, create_pool_if_not_found=False)
    working = asyncio.ensure_future(worker.start())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, working.cancel)
    try:
        await working
    except asyncio.CancelledError:
        return
