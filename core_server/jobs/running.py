"""Requests on their way through the worker, one or several in a pass."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from core_server.errors import ScumbleServerError
from core_server.jobs.engine import Wish
from core_server.jobs.messages import Done
from core_server.pipelines.task import StepProgress, TaskOutput


class Running:
    """One request. `ended` is settled exactly once, by whatever comes first; `placed` when its pictures are delivered.

    sent: the worker has it; begun: and works on it; painted: only its pictures are still to be handed over. cancelled:
    somebody has asked for that.
    """

    def __init__(self, job_id: str, on_step: Callable[[StepProgress], None]) -> None:
        self.job_id = job_id
        self.on_step = on_step
        self.ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.placed: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        self.sent = self.begun = self.painted = self.cancelled = False

    def fail(self, error: ScumbleServerError) -> None:
        """It ends with this error, if it has not ended."""
        if not self.ended.done():
            self.ended.set_exception(error)


class GivenPass:
    """Implements `engine.Pass`. pictures: as in `Engine.give`. read: the worker has read what it was sent."""

    def __init__(self, wishes: Sequence[Wish], pictures: int) -> None:
        loop = asyncio.get_running_loop()
        self.wishes = wishes
        self.times_sent = 0
        self.pictures = pictures
        self.running = [Running(wish.job_id, wish.on_step) for wish in wishes]
        self.read: asyncio.Future[None] = loop.create_future()
        self.ending: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        for running in self.running:
            running.ended.add_done_callback(lambda _: self.look())

    @property
    def outcomes(self) -> Sequence[asyncio.Future[Sequence[TaskOutput]]]:
        """See `engine.Pass`."""
        return [running.ended for running in self.running]

    @property
    def is_unbegun(self) -> bool:
        """Whether the worker has not touched it yet."""
        return not any(running.begun for running in self.running)

    def look(self) -> None:
        """Something has changed for one of them."""
        if all(it.painted or it.ended.done() for it in self.running):
            _settle(self.read)
            _settle(self.ending)
        if all(it.placed.done() or it.ended.done() for it in self.running):
            _settle(self.ended)

    def stepped(self) -> None:
        """A step of one of them is done."""
        _settle(self.read)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
