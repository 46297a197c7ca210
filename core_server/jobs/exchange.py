"""Pixels between gateway and worker, seen from the gateway: into the shared segments and out of them."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

from core_server.canvas.pixels import Pixels
from core_server.config import MIB
from core_server.errors import ScumbleServerError
from core_server.jobs import messages, segments
from core_server.jobs.deliveries import output_of
from core_server.jobs.running import Running
from core_server.jobs.supervisor import Worker
from core_server.pipelines.live_frame import LivePicture
from core_server.pipelines.task import TaskOutput

log = logging.getLogger(__name__)

_SMALL_BYTES = 4 * MIB
"""Copied in less time than it takes to hand the copying to a thread."""


class Exchange:
    """The segments of one data folder, and whose pixels are in them."""

    def __init__(self, data_dir: Path) -> None:
        self._segments = segments.Segments(data_dir)
        self._one_set = asyncio.Lock()
        self.frames: dict[str, FramePlaces] = {}
        """The live frames under way."""

    @property
    def made(self) -> int:
        """How many segments there were so far."""
        return self._segments.made

    def sweep(self) -> None:
        """Removes what a killed gateway left behind."""
        self._segments.sweep()

    def shrink(self, *, everything: bool) -> None:
        """Gives large segments back, or all of them, while nothing runs."""
        self._segments.shrink(*((0,) if everything else ()))

    async def inputs(
        self, images: list[Pixels], slot: int = 0
    ) -> tuple[str, list[messages.PlacedPixels]]:
        """The name of the segment that they lie in now, "" for none, and where. Errors: OutOfMemory."""
        if not images:
            return "", []
        size = segments.size_of(images)
        segment = self._segments.for_input(size, slot)
        if size <= _SMALL_BYTES:
            return segment.name, segments.pack(segment, images)
        return segment.name, await asyncio.to_thread(segments.pack, segment, images)

    async def bring_over(self, running: Running, size: int, worker: Worker) -> None:
        """The pictures of one job at a time, from the worker's question for room until they are here."""
        async with self._one_set:
            if running.ended.done():  # what is sent to a worker that has died is lost
                worker.send(messages.Grant(segment="", refusal="nobody waits for it"))
                return
            try:
                segment = self._segments.for_result(size)
            except ScumbleServerError as error:
                worker.send(messages.Grant(segment="", refusal=error.message))
                return
            worker.send(messages.Grant(segment=segment.name, made=self._segments.made))
            await asyncio.wait({running.placed, running.ended}, return_when=asyncio.FIRST_COMPLETED)
            if running.ended.done():
                return
            running.sent = False  # the outputs are safe: the worker may die now
            done = running.placed.result()
            try:
                outputs = await self._outputs(segment, done.outputs)
            except Exception as error:
                log.exception("The pictures of job %s could not be taken over", running.job_id)
                running.fail(messages.error_of(messages.failure_of(error)))
                return
            if not running.ended.done():
                running.ended.set_result(outputs)

    async def _outputs(
        self, segment: SharedMemory, outputs: Sequence[messages.PlacedOutput]
    ) -> Sequence[TaskOutput]:
        lend = self._segments.lender(segment)
        if lend is not None:
            return [output_of(placed, lend) for placed in outputs]
        copy = functools.partial(segments.unpack, segment)
        return await asyncio.to_thread(lambda: [output_of(placed, copy) for placed in outputs])

    @contextmanager
    def frame(self, frame_id: str) -> Iterator[FramePlaces]:
        """The places of a live frame and its picture, within the block. Errors: RuntimeError where there are none."""
        taken = {places.slot for places in self.frames.values()}
        free = [slot for slot in range(segments.SLOTS) if slot not in taken]
        if not free:
            raise RuntimeError(f"the local engine paints {segments.SLOTS} frames at a time")
        places = self.frames[frame_id] = FramePlaces(self, self._segments, free[0])
        try:
            yield places
        finally:
            del self.frames[frame_id]

    def take_frame(self, running: Running, painted: messages.Painted) -> None:
        """Ends a frame with its picture."""
        places = self.frames.get(running.job_id)
        if places is None or places.segment is None or running.ended.done():
            return
        try:
            pixels = self._segments.take_output(places.segment, painted.pixels)
        except Exception as error:
            log.exception("A live picture could not be taken over")
            running.fail(messages.error_of(messages.failure_of(error)))
            return
        running.ended.set_result(LivePicture(pixels, painted.told, ahead=painted.ahead))


class FramePlaces:
    """Where a live frame's canvas and its picture lie. segment: the picture's, once there is one."""

    def __init__(self, exchange: Exchange, those: segments.Segments, slot: int) -> None:
        self._exchange = exchange
        self._segments = those
        self.slot = slot
        self.output_slot: int | None = None
        self.segment: SharedMemory | None = None

    async def canvas(self, canvas: Pixels) -> tuple[str, messages.PlacedPixels]:
        """As `Exchange.inputs`, of one picture."""
        name, [placed] = await self._exchange.inputs([canvas], self.slot)
        return name, placed

    def output(self, size: int) -> str:
        """The name of a segment of at least so many bytes. Errors: OutOfMemory."""
        taken = {places.output_slot for places in self._exchange.frames.values()}
        self.output_slot = next(it for it in self._segments.free_outputs() if it not in taken)
        self.segment = self._segments.for_output(size, self.output_slot)
        return self.segment.name
