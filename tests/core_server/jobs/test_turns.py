"""Who is next: frames first, and no job held up beyond the bound."""

from __future__ import annotations

import asyncio

from core_server.jobs.turns import QUIET_SECONDS, Turns


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def started(*tasks: asyncio.Task[None]) -> None:
    for _ in range(5 * len(tasks)):
        await asyncio.sleep(0)


class Player:
    """Takes a turn and holds it until it is let go. `order` records who had one."""

    def __init__(self, turns: Turns, kind: str, name: str, order: list[str]) -> None:
        self.done = asyncio.Event()
        self._turn = {
            "job": turns.job,
            "frame": turns.frame,
            "frame beside": lambda: turns.frame(beside=True),
        }[kind]
        self._name, self._order = name, order
        self.task = asyncio.create_task(self._play())

    async def _play(self) -> None:
        async with self._turn():
            self._order.append(self._name)
            await self.done.wait()

    async def end(self) -> None:
        self.done.set()
        await self.task


async def test_without_painters_jobs_run_one_after_the_other_at_once() -> None:
    order: list[str] = []
    turns = Turns(3, Clock())
    first, second = (Player(turns, "job", name, order) for name in "ab")
    await started(first.task, second.task)
    assert (order, turns.taken_by) == (["a"], "job")
    await first.end()
    await started(second.task)
    assert order == ["a", "b"]
    await second.end()
    assert turns.taken_by == ""


async def test_frames_go_first_until_the_bound() -> None:
    order: list[str] = []
    clock = Clock()
    turns = Turns(3, clock)
    frame = Player(turns, "frame", "f0", order)
    await started(frame.task)
    job = Player(turns, "job", "job", order)
    for number in range(1, 4):
        following = Player(turns, "frame", f"f{number}", order)
        await started(job.task, following.task)
        clock.now += 1.0
        await frame.end()
        await started(job.task, following.task)
        frame = following
    assert order == ["f0", "f1", "f2", "job"], "after three seconds it is the job's turn"
    await job.end()
    await started(frame.task)
    assert order[-1] == "f3", "and then the painters'"


async def test_a_job_after_a_job_waits_its_own_bound() -> None:
    order: list[str] = []
    clock = Clock()
    turns = Turns(3, clock)
    first = Player(turns, "job", "first", order)
    await started(first.task)
    second = Player(turns, "job", "second", order)
    frame = Player(turns, "frame", "frame", order)
    await started(second.task, frame.task)
    clock.now += 100
    await first.end()
    await started(second.task, frame.task)
    assert order == ["first", "frame"], "a long queue leaves painters their seconds"
    clock.now += 3
    await frame.end()
    await started(second.task)
    assert order[-1] == "second"
    await second.end()


async def test_a_pause_in_the_stroke_is_the_jobs() -> None:
    order: list[str] = []
    turns = Turns(60)
    frame = Player(turns, "frame", "frame", order)
    await started(frame.task)
    job = Player(turns, "job", "job", order)
    await frame.end()
    assert order == ["frame"]
    await asyncio.sleep(2 * QUIET_SECONDS)
    await started(job.task)
    assert order == ["frame", "job"]
    await job.end()


async def test_who_leaves_the_line_or_the_turn_holds_nobody_up() -> None:
    order: list[str] = []
    turns = Turns(3, Clock())
    first = Player(turns, "job", "first", order)
    gone_job, gone_frame = (Player(turns, kind, kind, order) for kind in ("job", "frame"))
    last = Player(turns, "frame", "last", order)
    await started(first.task, gone_job.task, gone_frame.task, last.task)
    for leaver in (gone_job, gone_frame):
        leaver.task.cancel()
    await asyncio.gather(gone_job.task, gone_frame.task, return_exceptions=True)
    first.task.cancel()
    await asyncio.gather(first.task, return_exceptions=True)
    await started(last.task)
    assert order == ["first", "last"]
    await last.end()
    assert turns.taken_by == ""


async def test_jobs_may_follow_each_other_in_one_turn_once_nobody_paints_any_more() -> None:
    clock = Clock()
    turns = Turns(3, clock)
    assert turns.is_quiet
    frame = Player(turns, "frame", "f", [])
    await started(frame.task)
    await frame.end()
    assert not turns.is_quiet
    clock.now += QUIET_SECONDS
    assert turns.is_quiet
    async with turns.job():
        waiting = Player(turns, "frame", "g", [])
        await started(waiting.task)
        assert not turns.is_quiet
    await waiting.end()


async def test_two_frames_are_under_way_and_never_beside_a_job() -> None:
    order: list[str] = []
    clock = Clock()
    turns = Turns(3, clock)
    frames = [Player(turns, "frame beside", f"f{number}", order) for number in range(4)]
    await started(*(it.task for it in frames))
    assert order == ["f0", "f1"], "one on the device, one that is to follow"
    job = Player(turns, "job", "job", order)
    await frames[0].end()
    await started(job.task, *(it.task for it in frames[1:]))
    assert order == ["f0", "f1", "f2"]
    clock.now += 3.0
    await frames[1].end()
    await started(job.task, *(it.task for it in frames[2:]))
    assert order == ["f0", "f1", "f2"], (
        "the job is due: it waits for the last frame, and none begins"
    )
    await frames[2].end()
    await started(job.task, frames[3].task)
    assert (order[-1], turns.taken_by) == ("job", "job")
    await job.end()
    await started(frames[3].task)
    assert order[-1] == "f3"
    await frames[3].end()
    assert turns.taken_by == ""


async def test_a_frame_that_needs_the_device_alone_waits_for_it() -> None:
    order: list[str] = []
    turns = Turns(3, Clock())
    frames = [Player(turns, kind, kind, order) for kind in ("frame beside", "frame")]
    await started(*(it.task for it in frames))
    assert order == ["frame beside"]
    await frames[0].end()
    await started(frames[1].task)
    assert order == ["frame beside", "frame"]
    await frames[1].end()
