"""A stop that comes at any moment ends, leaves nothing running and loses no job.

The moments are forced, not hoped for: a worker that is played moves on only where the test says so.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from core_server.canvas.pixels import Pixels
from core_server.config import Limits, ServerConfig
from core_server.errors import Unavailable, WorkerCrashed
from core_server.jobs import messages, segments
from core_server.jobs.engine import EngineState
from core_server.jobs.job import JobState
from core_server.jobs.local_engine import LocalEngine
from core_server.jobs.service import JobService
from core_server.jobs.store import Store
from core_server.pipelines.task import RuntimeInfo
from tests.core_server.jobs.conftest import config, text_to_image

Asked = TypeVar("Asked", bound=messages.ToWorker)

PATIENCE = 300.0
KILLED = "the worker process was ended by SIGKILL"
READY = messages.Ready(
    info=RuntimeInfo(
        device="cpu", memory_bytes=0, free_bytes=0, default_model="tiny", models=(), loaded=()
    )
)


class Played:
    """Implements `supervisor.Worker`. Its start waits for `starts`, its end for `may_end`."""

    def __init__(self, on_message: Callable[[messages.FromWorker], None]) -> None:
        self.say = on_message
        self.exited: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.pid: int | None = None
        self.job_id = ""
        self.starts = asyncio.Event()
        self.starting = asyncio.Event()
        self.asked: asyncio.Queue[messages.ToWorker] = asyncio.Queue()
        self.closing = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def start(self) -> None:
        self.starting.set()
        await self.starts.wait()
        self.pid = os.getpid()

    def send(self, message: messages.ToWorker) -> None:
        self.asked.put_nowait(message)

    def kill(self) -> None:
        self.end(KILLED)

    async def close(self) -> None:
        self.closing.set()
        await self.may_end.wait()
        self.end("the worker process ended with status 0")

    def end(self, how: str) -> None:
        if not self.exited.done():
            self.exited.set_result(how)

    async def until_asked(self, kind: type[Asked]) -> Asked:
        """The next of these questions."""
        while not isinstance(question := await self.asked.get(), kind):
            pass
        if isinstance(question, messages.Run):
            self.job_id = question.asked[0].job_id
            self.say(messages.Began(job_id=self.job_id))
        return question


class Stage:
    """A job service over an engine whose workers are played, with one job from the start."""

    def __init__(self, data_dir: Path) -> None:
        self.workers: list[Played] = []
        self.engine = LocalEngine(config(data_dir), make_worker=self._make)
        self.service = JobService(data_dir, self.engine, Limits())
        self.stopping: asyncio.Task[None] | None = None

    def _make(self, _: ServerConfig, on_message: Callable[[messages.FromWorker], None]) -> Played:
        self.workers.append(Played(on_message))
        return self.workers[-1]

    async def starting(self) -> Played:
        """The first worker, being made."""
        await until(lambda: bool(self.workers))
        await self.workers[0].starting.wait()
        return self.workers[0]

    async def started(self) -> Played:
        worker = await self.starting()
        worker.starts.set()
        return worker

    async def painting(self) -> Played:
        """A worker that has been given the job."""
        worker = await self.started()
        worker.say(READY)
        await worker.until_asked(messages.Run)
        return worker

    async def stop(self) -> None:
        """Asks for it and lets everything happen that can."""
        self.stopping = asyncio.create_task(self.service.stop())
        await settle()


async def until(there: Callable[[], bool]) -> None:
    while not there():
        await asyncio.sleep(0.001)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0.001)


# --- moments


async def at_once(stage: Stage) -> None:
    await stage.stop()


async def while_the_process_is_made(stage: Stage) -> None:
    worker = await stage.starting()
    await stage.stop()
    worker.starts.set()


async def made_and_ready_after_the_stop(stage: Stage) -> None:
    """As it was met: the job was given to a worker whose end nobody waited for any more."""
    worker = await stage.starting()
    worker.may_end.clear()
    await stage.stop()
    worker.starts.set()
    await settle()
    worker.say(READY)
    await settle()
    worker.may_end.set()


async def before_it_is_ready(stage: Stage) -> None:
    await stage.started()
    await stage.stop()


async def ready_while_it_is_closed(stage: Stage) -> None:
    worker = await stage.started()
    worker.may_end.clear()
    await stage.stop()
    await worker.closing.wait()
    worker.say(READY)
    await settle()
    worker.may_end.set()


async def just_ready(stage: Stage) -> None:
    (await stage.started()).say(READY)
    await stage.stop()


async def while_the_job_is_taken_up(stage: Stage) -> None:
    (await stage.started()).say(READY)
    while not (await stage.service.list("ada", [JobState.RUNNING], 1, ""))[0]:
        await asyncio.sleep(0)
    await stage.stop()


async def dead_before_the_job_is_given(stage: Stage) -> None:
    worker = await stage.started()
    worker.say(READY)
    worker.end(KILLED)
    await stage.stop()


async def while_it_paints(stage: Stage) -> None:
    await stage.painting()
    await stage.stop()


async def while_it_delivers(stage: Stage) -> None:
    worker = await stage.painting()
    worker.say(messages.Need(job_id=worker.job_id, size=4096))
    await worker.until_asked(messages.Grant)
    await stage.stop()


async def dead_while_it_paints(stage: Stage) -> None:
    (await stage.painting()).end(KILLED)
    await stage.stop()


async def between_two_lives(stage: Stage) -> None:
    (await stage.started()).end(KILLED)
    await until(lambda: stage.engine.status.state is EngineState.RESTARTING)
    await stage.stop()


async def cancelled_and_deaf(stage: Stage) -> None:
    worker = await stage.painting()
    await stage.service.cancel("ada", worker.job_id)
    await stage.stop()


async def delivered(stage: Stage) -> None:
    await deliver(await stage.painting())
    await stage.stop()


async def given_up(stage: Stage) -> None:
    worker = await stage.started()
    worker.say(
        messages.StartFailed(failure=messages.failure_of(WorkerCrashed("There are no weights.")))
    )
    worker.end(KILLED)
    await until(lambda: stage.engine.status.state is EngineState.FAILED)
    await until(lambda: not stage.service.active_jobs())
    await stage.stop()


async def deliver(worker: Played) -> None:
    """What a real worker does when it has painted."""
    picture = Pixels(np.zeros((8, 12, 3), np.uint8))
    worker.say(messages.Need(job_id=worker.job_id, size=segments.size_of([picture])))
    grant = await worker.until_asked(messages.Grant)
    segment = SharedMemory(grant.segment)
    [placed] = segments.pack(segment, [picture])
    segment.close()
    output = messages.PlacedOutput(
        pixels=placed,
        seed=7,
        recipe=b"{}",
        bounds=None,
        composite_mask=None,
        plan=None,
        map_name="",
    )
    worker.say(messages.Done(job_id=worker.job_id, outputs=[output], info=None))


@pytest.mark.parametrize(
    ("moment", "left"),
    [
        (at_once, {JobState.QUEUED}),
        (while_the_process_is_made, {JobState.QUEUED}),
        (made_and_ready_after_the_stop, {JobState.QUEUED}),
        (before_it_is_ready, {JobState.QUEUED}),
        (ready_while_it_is_closed, {JobState.QUEUED}),
        (just_ready, {JobState.QUEUED}),
        (while_the_job_is_taken_up, {JobState.QUEUED}),
        (dead_before_the_job_is_given, {JobState.QUEUED}),
        (while_it_paints, {JobState.QUEUED}),
        (while_it_delivers, {JobState.QUEUED}),
        (dead_while_it_paints, {JobState.QUEUED}),
        (between_two_lives, {JobState.QUEUED}),
        (cancelled_and_deaf, {JobState.CANCELLED}),
        (delivered, {JobState.QUEUED, JobState.SUCCEEDED}),
        (given_up, {JobState.FAILED}),
    ],
    ids=lambda it: getattr(it, "__name__", ""),
)
async def test_a_stop_ends_and_loses_nothing(
    tmp_path: Path, moment: Callable[[Stage], Awaitable[None]], left: set[JobState]
) -> None:
    stage = Stage(tmp_path)
    await stage.service.start()
    job = await stage.service.create("ada", "wish", text_to_image())
    async with asyncio.timeout(PATIENCE):
        await moment(stage)
        for worker in stage.workers:
            worker.starts.set()
        assert stage.stopping is not None
        await stage.stopping
        with pytest.raises(Unavailable):
            await stage.engine.wait_ready()
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
    for worker in stage.workers:
        assert worker.exited.done()
    store = Store(tmp_path / "jobs.sqlite3")
    kept = store.find(job.job_id)
    store.close()
    assert kept is not None
    assert kept.state in left


@pytest.mark.parametrize("ticks", range(40))
async def test_a_stop_at_any_turn_of_the_loop(tmp_path: Path, ticks: int) -> None:
    """The whole life of a worker and its job, cut off after so many turns."""
    stage = Stage(tmp_path)
    await stage.service.start()
    job = await stage.service.create("ada", "wish", text_to_image())

    async def life() -> None:
        await deliver(await stage.painting())

    living = asyncio.create_task(life())
    for _ in range(ticks):
        await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        stopping = asyncio.create_task(stage.service.stop())
        await settle()
        for worker in stage.workers:
            worker.starts.set()
        await stopping
        living.cancel()
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
    store = Store(tmp_path / "jobs.sqlite3")
    kept = store.find(job.job_id)
    store.close()
    assert kept is not None
    assert kept.state in (JobState.QUEUED, JobState.SUCCEEDED)


async def test_a_task_for_a_worker_that_dies_in_between_goes_to_the_next(tmp_path: Path) -> None:
    """It is ready, and dead before the job that waited for it has been sent."""
    stage = Stage(tmp_path)
    await stage.service.start()
    job = await stage.service.create("ada", "wish", text_to_image())
    worker = await stage.started()
    worker.say(READY)
    worker.end(KILLED)
    async with asyncio.timeout(PATIENCE):
        await until(lambda: len(stage.workers) == 2)
        worker = stage.workers[1]
        worker.starts.set()
        worker.say(READY)
        await worker.until_asked(messages.Run)
        await deliver(worker)
        await until(lambda: not stage.service.active_jobs())
        ended = await stage.service.get("ada", job.job_id)
        assert ended.state is JobState.SUCCEEDED
        await stage.service.stop()
