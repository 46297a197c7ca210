"""Frames in the worker: the next one is begun while the device has the last one, and they leave in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import Pixels
from core_server.errors import TaskFailed
from core_server.jobs import messages
from core_server.jobs.segments import SLOTS, Segments, pack, unpack
from core_server.jobs.worker_frames import WorkerFrames
from core_server.pipelines.live_frame import LiveFrame, LivePicture, LiveStarted, LiveTold
from core_server.pipelines.request import Parameters
from core_server.pipelines.task import StepCallback, StepProgress

SECONDS = 30.0
TOLD = LiveTold(
    model="m", num_inference_steps=1, guidance_scale=1.0, scheduler="ddim",
    model_extent=Extent(4, 4), few_step=False, seconds=0.001,
)  # fmt: skip


class Device:
    """A runtime whose device ends a frame when the test says so. slow: how long it says that it took."""

    def __init__(self, *, by_itself: bool = True, seconds: float = 0.001) -> None:
        self.begun: list[int] = []
        self.gates: dict[int, threading.Event] = {}
        self.fails: set[int] = set()
        self._by_itself = by_itself
        self._seconds = seconds

    def begin_paint(self, _frame: LiveFrame, canvas: Pixels, on_step: StepCallback) -> LiveStarted:
        on_step(StepProgress(0, 1, "Painting"))
        value = int(canvas.array.flat[0])
        samples = 255 - canvas.array
        gate = self.gates.setdefault(value, threading.Event())
        self.begun.append(value)
        if not self._by_itself:
            gate.set()

        def finish() -> LivePicture:
            assert gate.wait(SECONDS)
            if value in self.fails:
                raise TaskFailed("not this one")
            told = msgspec.structs.replace(TOLD, seconds=self._seconds)
            return LivePicture(Pixels(samples), told, ahead=self._by_itself)

        return LiveStarted(finish, self._by_itself)


class Studio:
    """Both sides of the shared memory."""

    def __init__(self, folder: Path, device: Device) -> None:
        self.segments = Segments(folder)
        for slot in range(SLOTS):
            self.segments.for_input(1, slot)
            self.segments.for_output(1, slot)
        self.sent: list[Any] = []
        self.device = device
        self.cancelled: set[str] = set()
        self._told = threading.Condition()
        self.frames = WorkerFrames(
            self._send, _step, self._failed, lambda _runtime: None, self.cancelled
        )

    def _send(self, message: Any) -> None:
        with self._told:
            self.sent.append(message)
            self._told.notify_all()

    def _failed(self, _runtime: Any, job_id: str, error: Exception) -> None:
        self._send((job_id, type(error).__name__))

    def paint(self, value: int, slot: int, side: int = 4) -> None:
        canvas = Pixels(np.full((side, side, 3), value, np.uint8))
        segment = self.segments.for_input(canvas.array.nbytes, slot)
        [placed] = pack(segment, [canvas])
        output = self.segments.for_output(canvas.array.nbytes, slot)
        self.frames.paint(
            self.device,  # type: ignore[arg-type]
            messages.Paint(
                job_id=f"{value}", frame=LiveFrame(parameters=Parameters(), strength=0.5),
                segment=segment.name, canvas=placed, output=output.name, made=self.segments.made,
            ),
        )  # fmt: skip

    def wait(self, count: int) -> None:
        with self._told:
            assert self._told.wait_for(lambda: len(self.sent) >= count, SECONDS)

    def colour(self, message: messages.Painted, slot: int, side: int = 4) -> int:
        output = self.segments.for_output(side * side * 3, slot)
        return int(unpack(output, message.pixels).array.flat[0])


def _step(job_id: str, _progress: StepProgress) -> messages.Step:
    return messages.Step(job_id=job_id, step=0, steps=0, stage="")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Any]:
    made: list[Studio] = []

    def make(**options: Any) -> Studio:
        made.append(Studio(tmp_path, Device(**options)))
        return made[-1]

    yield make
    for studio in made:
        studio.frames.settle()
        studio.segments.shrink(0)


def test_the_next_frame_is_begun_while_the_device_has_the_last_one(make: Any) -> None:
    studio = make()
    studio.paint(1, 0)
    studio.paint(2, 1)
    assert (studio.device.begun, studio.sent) == ([1, 2], [])
    studio.device.gates[2].set()
    studio.device.gates[1].set()
    studio.wait(2)
    assert [it.job_id for it in studio.sent] == ["1", "2"], "in order"
    assert [studio.colour(it, slot) for slot, it in enumerate(studio.sent)] == [254, 253]
    assert all(it.ahead for it in studio.sent)


def test_a_device_that_needs_the_thread_itself_is_waited_for(make: Any) -> None:
    studio = make(by_itself=False)
    studio.paint(1, 0)
    assert [it.job_id for it in studio.sent] == ["1"]
    assert not studio.sent[0].ahead


def test_a_slow_device_asks_for_no_frame_ahead(make: Any) -> None:
    studio = make(seconds=1.0)
    studio.paint(1, 0)
    studio.device.gates[1].set()
    studio.wait(1)
    assert not studio.sent[0].ahead


def test_one_that_fails_leaves_the_other(make: Any) -> None:
    studio = make()
    studio.device.fails = {1}
    studio.paint(1, 0)
    studio.paint(2, 1)
    for gate in studio.device.gates.values():
        gate.set()
    studio.wait(2)
    assert studio.sent[0] == ("1", "TaskFailed")
    assert studio.colour(studio.sent[1], 1) == 253


def test_a_cancelled_frame_is_not_begun(make: Any) -> None:
    studio = make()
    studio.cancelled.add("1")
    studio.paint(1, 0)
    assert studio.sent == [("1", "TaskCancelled")]
    assert (studio.device.begun, studio.cancelled) == ([], set())


def test_memory_that_was_made_anew_waits_for_the_frame_in_the_old_one(make: Any) -> None:
    studio = make()
    studio.paint(1, 0)
    large = 800
    opened = threading.Timer(0.05, studio.device.gates[1].set)
    opened.start()
    studio.paint(2, 1, large)
    assert [it.job_id for it in studio.sent] == ["1"]
    studio.device.gates[2].set()
    studio.wait(2)
    assert studio.colour(studio.sent[1], 1, large) == 253
