"""A live session paints while its last picture travels, and no further ahead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import cast

import numpy as np

from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import ColorSpace, Pixels
from core_server.config import Limits
from core_server.jobs.engine import Engine, EngineState, EngineStatus
from core_server.jobs.job import ImageHeader
from core_server.jobs.live import LiveAnswer, LiveDesk, LiveWish
from core_server.jobs.turns import Turns
from core_server.pipelines.live_frame import LiveFrame, LivePicture, LiveTold
from core_server.pipelines.request import Parameters

SIDE = 4
HEADER = ImageHeader(
    extent=Extent(SIDE, SIDE), channels=3, dtype="uint8", color_space=ColorSpace.SRGB
)


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
        told = LiveTold(
            model="m", num_inference_steps=1, guidance_scale=1.0, scheduler="ddim",
            model_extent=Extent(SIDE, SIDE), few_step=False,
        )  # fmt: skip
        return LivePicture(Pixels(255 - canvas.array, canvas.color_space), told)


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
