"""A live session paints while its last picture travels, and no further ahead."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import cast

import msgspec
import numpy as np
import pytest

from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import ColorSpace, Pixels
from core_server.config import Limits
from core_server.errors import WorkerCrashed
from core_server.jobs.engine import Engine, EngineState, EngineStatus
from core_server.jobs.job import ImageHeader
from core_server.jobs.live import LiveDesk
from core_server.jobs.live_wishes import LiveAnswer, LiveWish
from core_server.jobs.turns import Turns
from core_server.pipelines.live_frame import LiveFrame, LivePicture, LiveTold
from core_server.pipelines.request import Parameters

SIDE = 4
HEADER = ImageHeader(
    extent=Extent(SIDE, SIDE), channels=3, dtype="uint8", color_space=ColorSpace.SRGB
)
TOLD = LiveTold(
    model="m", num_inference_steps=1, guidance_scale=1.0, scheduler="ddim",
    model_extent=Extent(SIDE, SIDE), few_step=False,
)  # fmt: skip


class OneAtATime:
    """An engine that inverts canvases and counts them."""

    status = EngineStatus(EngineState.READY)

    def __init__(self) -> None:
        self.painted: list[int] = []
        self.busy = False

    async def paint(
        self, _frame_id: str, frame: LiveFrame, canvas: Pixels, _on_step: object
    ) -> LivePicture:
        assert not self.busy
        self.busy = True
        await asyncio.sleep(0)
        self.busy = False
        self.painted.append(int(canvas.array.flat[0]))
        return LivePicture(Pixels(255 - canvas.array, canvas.color_space), TOLD)


def wish(value: int) -> LiveWish:
    payload = np.full((SIDE, SIDE, 3), value, np.uint8).tobytes()
    return LiveWish(number=value, parameters=Parameters(), header=HEADER, payload=payload)


async def picture(answers: AsyncGenerator[LiveAnswer, None]) -> int:
    """The number of the next one; on a busy machine the session may say before that it waits."""
    while (answer := await anext(answers)).header is None:
        pass
    return answer.wish.number


async def settled() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("dtype", "changed", "skip_below", "like"),
    [
        ("uint8", 1, 0.0, False),
        ("uint8", 1, 0.01, True),
        ("uint8", 5, 0.01, False),
        ("uint16", 300, 0.01, True),
        ("float32", 0.02, 0.01, False),
        ("float32", 0.005, 0.01, True),
    ],
)
def test_how_much_a_canvas_must_change(
    dtype: str, changed: float, skip_below: float, like: bool
) -> None:
    header = msgspec.structs.replace(HEADER, dtype=dtype)
    before = np.full((SIDE, SIDE, 3), 0 if dtype == "float32" else 100, dtype)

    def of(array: np.ndarray) -> LiveWish:
        return LiveWish(
            parameters=Parameters(), header=header, payload=memoryview(array.tobytes()),
            skip_below=skip_below,
        )  # fmt: skip

    assert of(before).is_like(of(before))
    after = (before + np.asarray(changed, dtype)).astype(dtype)
    assert of(after).is_like(of(before)) is like
    assert of(before).is_like(of(after)) is like
    assert not of(after).is_like(None)


async def test_the_next_frame_is_painted_while_the_last_picture_travels() -> None:
    engine = OneAtATime()
    desk = LiveDesk(cast("Engine", engine), Turns(1.0), Limits())
    with desk.session("ann") as session:
        answers = session.answers()
        session.put(wish(1))
        painting = asyncio.ensure_future(picture(answers))
        await asyncio.sleep(0)
        while session._waiting is not None:  # until the first frame is being painted
            await asyncio.sleep(0)
        session.put(wish(2))
        assert await painting == 1
        await settled()
        assert engine.painted == [1, 2], "the second one did not wait for the first to be taken"
        session.put(wish(3))
        session.put(wish(4))
        await settled()
        assert engine.painted == [1, 2], "but nothing is painted for a client that does not read"
        assert await picture(answers) == 2
        assert await picture(answers) == 4
        assert engine.painted == [1, 2, 4]
        assert session.figures["dropped"] == 1
        await answers.aclose()


class Ahead:
    """An engine whose device takes a frame up when it has done the one before, two at most. The test says when."""

    status = EngineStatus(EngineState.READY)

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.under_way: deque[asyncio.Future[None]] = deque()
        self.most = 0

    async def paint(
        self, _frame_id: str, _frame: LiveFrame, canvas: Pixels, _on_step: object
    ) -> LivePicture:
        self.begun.append(int(canvas.array.flat[0]))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.under_way.append(done)
        self.most = max(self.most, len(self.under_way))
        try:
            await done
        finally:
            self.under_way.remove(done)
        return LivePicture(Pixels(255 - canvas.array, canvas.color_space), TOLD, ahead=True)

    async def finish(self) -> None:
        """The device has done the frame that it began first."""
        self.under_way[0].set_result(None)
        await settled()


async def test_two_frames_are_under_way_where_the_device_takes_up_the_next_one_at_once() -> None:
    engine, turns = Ahead(), Turns(1.0)
    with LiveDesk(cast("Engine", engine), turns, Limits()).session("ann") as session:
        answers = session.answers()
        numbers: list[int] = []

        async def read() -> None:
            while True:
                numbers.append(await picture(answers))

        reading = asyncio.ensure_future(read())
        session.put(wish(1))
        await settled()
        session.put(wish(2))
        await settled()
        assert engine.begun == [1], "nobody has said yet that the device goes on by itself"
        await engine.finish()
        assert engine.begun == [1, 2]
        session.put(wish(3))
        await settled()
        assert engine.begun == [1, 2, 3], "sent while the second one is painted"
        session.put(wish(4))
        session.put(wish(5))
        await settled()
        assert engine.begun == [1, 2, 3]
        await engine.finish()
        assert engine.begun == [1, 2, 3, 5], "the newest one"
        session.put(wish(5))
        while engine.under_way:
            await engine.finish()
        assert numbers == [1, 2, 3, 5], "in order"
        assert (engine.most, session.figures["dropped"]) == (2, 1)
        reading.cancel()
        await asyncio.wait({reading})
        await answers.aclose()
    await settled()
    assert turns.taken_by == ""


async def test_leaving_ends_both_frames_that_are_under_way() -> None:
    engine, turns = Ahead(), Turns(1.0)
    with LiveDesk(cast("Engine", engine), turns, Limits()).session("ann") as session:
        answers = session.answers()
        session.put(wish(1))
        first = asyncio.ensure_future(picture(answers))
        await settled()
        session.put(wish(2))
        await engine.finish()
        assert await first == 1
        second = asyncio.ensure_future(picture(answers))
        session.put(wish(3))
        await settled()
        assert len(engine.under_way) == 2
        second.cancel()
        await asyncio.wait({second})
        await answers.aclose()
    await settled()
    assert not engine.under_way
    assert turns.taken_by == ""


async def test_a_worker_that_dies_under_two_frames_is_one_crash() -> None:
    engine = Ahead()
    with LiveDesk(cast("Engine", engine), Turns(1.0), Limits()).session("ann") as session:
        answers = session.answers()
        session.put(wish(1))
        first = asyncio.ensure_future(picture(answers))
        await settled()
        session.put(wish(2))
        await engine.finish()
        await first
        second = asyncio.ensure_future(picture(answers))
        session.put(wish(3))
        await settled()
        for under_way in list(engine.under_way):
            under_way.set_exception(WorkerCrashed("gone"))
        await settled()
        assert engine.begun == [1, 2, 3, 3], "the newest frame again"
        await engine.finish()
        assert await second == 3
        await answers.aclose()


async def test_a_session_that_is_left_leaves_nothing_behind() -> None:
    engine = OneAtATime()
    turns = Turns(1.0)
    with LiveDesk(cast("Engine", engine), turns, Limits()).session("ann") as session:
        answers = session.answers()
        session.put(wish(1))
        first = asyncio.ensure_future(picture(answers))
        while session._waiting is not None:
            await asyncio.sleep(0)
        session.put(wish(2))
        await first
        await answers.aclose()
    await settled()
    assert turns.taken_by == ""
    assert {task for task in asyncio.all_tasks() if task is not asyncio.current_task()} == set()
