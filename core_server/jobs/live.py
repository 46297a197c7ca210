"""Live sessions: the newest canvas in, its picture out. Nothing is queued and nothing is written to disk.

A session holds one frame that waits, one that is painted (two where the device takes up one while it paints the other)
and one picture on its way to the client, whatever that one sends: a newer frame replaces the one that waits. None is
begun while a picture waits to be taken, so that a slow reader costs nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

import msgspec

from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import Pixels
from core_server.config import Limits
from core_server.errors import InvalidRequest, LimitExceeded, ScumbleServerError, WorkerCrashed
from core_server.jobs import codec
from core_server.jobs.engine import Engine, EngineState
from core_server.jobs.job import ImageEncoding, ImageHeader
from core_server.jobs.live_wishes import LiveAnswer, LiveWish, Painted
from core_server.jobs.turns import MOST_FRAMES, Turns
from core_server.pipelines.live_frame import LiveTold
from core_server.pipelines.task import StepProgress

log = logging.getLogger(__name__)

DEFAULT_STRENGTH = 0.6
_TELL_FIRST_SECONDS, _TELL_AGAIN_SECONDS = 0.25, 1.0
_RATE_PICTURES, _RATE_SECONDS = 30, 10.0
_MAX_CRASHES = 2


class LiveDesk:
    """All live sessions of a server. figures: pictures, skipped and dropped frames since the start."""

    def __init__(self, engine: Engine, turns: Turns, limits: Limits) -> None:
        self._engine = engine
        self._turns = turns
        self._limits = limits
        self._numbers = itertools.count(1)
        self._open: Counter[str] = Counter()
        self.figures: Counter[str] = Counter()

    @property
    def sessions(self) -> int:
        """How many are open."""
        return self._open.total()

    @contextmanager
    def session(self, owner: str) -> Iterator[LiveSession]:
        """A session for the length of a block. Errors: LimitExceeded where there are too many."""
        for name, there in (
            ("max_live_sessions", self.sessions),
            ("max_live_sessions_per_owner", self._open[owner]),
        ):
            limit = getattr(self._limits, name)
            if there >= limit:
                raise LimitExceeded(
                    f"{limit} live sessions are open already ({name}); close one of them, or paint with single jobs.",
                    limit=name,
                    value=str(limit),
                )
        self._open[owner] += 1
        session = LiveSession(
            f"live-{next(self._numbers)}", self._engine, self._turns, self._limits, self.figures
        )
        try:
            yield session
        finally:
            self._open[owner] -= 1
            log.info("A live session ended: %s", dict(session.figures))


class LiveSession:
    """One artist's stream. `put` and `end` are called by whoever reads from the client; all on one event loop."""

    def __init__(
        self, name: str, engine: Engine, turns: Turns, limits: Limits, total: Counter[str]
    ) -> None:
        self._name = name
        self._engine = engine
        self._turns = turns
        self._limits = limits
        self._total = total
        self.figures: Counter[str] = Counter()
        self._known = LiveWish(
            strength=DEFAULT_STRENGTH, encoding=ImageEncoding.RAW, skip_below=0.0
        )
        self._waiting: LiveWish | None = None
        self._taken: LiveWish | None = None
        self._likeness: tuple[LiveWish, LiveWish | None, bool] | None = None
        self._flights: deque[asyncio.Task[Painted]] = deque()
        self._is_open = False
        self._unbegun = False
        self._ahead = False
        self._frames = itertools.count(1)
        self._told: tuple[LiveTold, float | None, int] | None = None
        self._finished: deque[float] = deque(maxlen=_RATE_PICTURES)
        self._changed = asyncio.Event()
        self._ended: ScumbleServerError | bool = False
        self._turns_held = 0
        self._stage = ""

    def put(self, wish: LiveWish) -> None:
        """The newest wish; one that still waits is dropped. Errors: InvalidRequest beyond the limits."""
        self._check_size("canvas.header.extent", wish.header.extent if wish.header else None)
        self._check_size("extent", wish.extent)
        if wish.payload is not None and self._waiting is not None:
            self._count("dropped")
        self._known = wish.after(self._known)
        if self._known.payload is not None:
            self._waiting = self._known
            self._launch()  # at once: whoever waits for the change comes some turns of the event loop later
        self._changed.set()

    def end(self, error: ScumbleServerError | None = None) -> None:
        """The client sends no more; with an error the session ends with it at once."""
        self._ended = error or True
        self._changed.set()

    async def answers(self) -> AsyncGenerator[LiveAnswer, None]:
        """Until the client has ended and its last frame is answered.

        Errors: what `end` was given, TaskFailed of a frame, LimitExceeded for a session that nothing comes to.
        """
        crashes = 0
        flights = self._flights
        self._is_open = True
        try:
            while True:
                self._launch()
                if not flights:
                    wish = await self._next()
                    if flights:
                        continue
                    if wish is None:
                        return
                    if self._is_like_the_last(wish):
                        self._waiting = None
                        self._count("skipped")
                        yield self._answer(wish, skipped=True)
                    continue
                tell_at = time.monotonic() + _TELL_FIRST_SECONDS
                while not flights[0].done():
                    if await self._nothing_until(tell_at):
                        tell_at = time.monotonic() + _TELL_AGAIN_SECONDS
                        if message := self._why_waiting():
                            yield self._answer(self._waiting or self._known, message=message)
                    self._launch()
                try:
                    painted = flights.popleft().result()
                except WorkerCrashed as error:
                    self._is_open = False
                    await _given_up(flights)
                    self._is_open = True
                    crashes += 1
                    if crashes >= _MAX_CRASHES:
                        raise type(error)(
                            f"Live painting ended, because the worker died {crashes} times over it. {error.message} "
                            "The server goes on; a smaller canvas or another model may work.",
                            **error.metadata,
                        ) from error
                    self._taken, self._waiting = None, self._known
                    yield self._answer(
                        self._known,
                        message="The worker process died and is being started again; painting goes on.",
                    )
                    continue
                crashes = 0
                answer = self._pictured(painted)
                self._launch()  # the worker does not wait while this picture is on its way
                yield answer
        finally:
            self._is_open = False
            await _given_up(flights)

    def _launch(self) -> None:
        """Begins the newest frame, where there is one that is not like the last one begun. Where the device takes it up
        at once when it has done the frame before, it is sent while that one is painted."""
        wish, flights = self._waiting, self._flights
        if (
            wish is None
            or not self._is_open
            or self._unbegun
            or len(flights) >= (MOST_FRAMES if self._ahead else 1)
            or self._ended_badly
            or self._is_like_the_last(wish)
        ):
            return
        self._unbegun = True
        flights.append(asyncio.create_task(self._paint_newest(beside=bool(flights))))

    def _is_like_the_last(self, wish: LiveWish) -> bool:
        """One that was begun; asked more often than it changes."""
        known = self._likeness
        if known is None or known[0] is not wish or known[1] is not self._taken:
            known = self._likeness = (wish, self._taken, wish.is_like(self._taken))
        return known[2]

    async def _nothing_until(self, deadline: float) -> bool:
        """Whether nothing has changed by then; `time.monotonic`."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(loop.time() + deadline - time.monotonic()):
                await self._changed.wait()
        except TimeoutError:
            return True
        self._changed.clear()
        return False

    @property
    def _ended_badly(self) -> bool:
        return isinstance(self._ended, ScumbleServerError)

    async def _next(self) -> LiveWish | None:
        """The wish that waits, left there; None when there will be none, or where one has been begun meanwhile."""
        idle = self._limits.max_live_idle_seconds
        while True:
            self._changed.clear()
            if isinstance(self._ended, ScumbleServerError):
                raise self._ended
            if self._waiting is not None:
                return self._waiting
            if self._ended or self._flights:
                return None
            try:
                await asyncio.wait_for(self._changed.wait(), idle)
            except TimeoutError:
                raise idle_error(idle) from None

    async def _paint_newest(self, *, beside: bool) -> Painted:
        try:
            return await self._painted(beside=beside)
        finally:
            self._changed.set()

    async def _painted(self, *, beside: bool) -> Painted:
        self._stage = ""
        try:
            async with self._turns.frame(beside=beside):
                self._turns_held += 1
                wish, self._waiting = self._waiting, None
                assert wish is not None
                self._taken, self._unbegun = wish, False
                try:
                    canvas = await self._canvas(wish)
                    picture = await self._engine.paint(
                        f"{self._name}-{wish.number}-{next(self._frames)}",
                        wish.frame,
                        canvas,
                        self._on_step,
                    )
                finally:
                    self._turns_held -= 1
        finally:
            self._unbegun = False
        encoding = wish.encoding or ImageEncoding.RAW
        payload: bytes | memoryview
        if encoding is ImageEncoding.RAW:
            payload = codec.raw_bytes(picture.pixels)
        else:
            payload = await asyncio.to_thread(codec.encode, picture.pixels, encoding)
        return Painted(wish, picture, codec.header_of(picture.pixels, encoding), payload)

    async def _canvas(self, wish: LiveWish) -> Pixels:
        assert wish.header is not None
        assert wish.payload is not None
        if wish.header.encoding is ImageEncoding.RAW:
            return codec.decode(wish.header, wish.payload, self._limits)
        return await asyncio.to_thread(codec.decode, wish.header, wish.payload, self._limits)

    def _pictured(self, painted: Painted) -> LiveAnswer:
        """Called in the order of the frames."""
        wish, picture = painted.wish, painted.picture
        now = time.monotonic()
        self._finished.append(now)
        while now - self._finished[0] > _RATE_SECONDS and len(self._finished) > 2:
            self._finished.popleft()
        self._count("pictures")
        self._ahead = picture.ahead
        assert wish.parameters is not None
        told = _untimed(picture.told)
        earlier, self._told = self._told, (told, wish.strength, wish.parameters.seed)
        return self._answer(
            wish,
            header=painted.header,
            payload=painted.payload,
            painting=picture.told.seconds,
            told=told if self._told != earlier else None,
        )

    def _answer(
        self,
        wish: LiveWish,
        *,
        header: ImageHeader | None = None,
        payload: bytes | memoryview | None = None,
        painting: float = 0.0,
        told: LiveTold | None = None,
        skipped: bool = False,
        message: str = "",
    ) -> LiveAnswer:
        return LiveAnswer(
            wish=wish,
            dropped=self.figures["dropped"],
            rate=self._rate(),
            seconds=time.monotonic() - wish.arrived,
            header=header,
            payload=payload,
            painting=painting,
            told=told,
            skipped=skipped,
            message=message,
        )

    def _rate(self) -> float:
        if len(self._finished) < 2:
            return 0.0
        return (len(self._finished) - 1) / max(self._finished[-1] - self._finished[0], 1e-9)

    def _why_waiting(self) -> str:
        """For people; "" where the frame is simply being painted."""
        if not self._turns_held:
            if self._turns.taken_by == "job":
                return "A job is being painted; the next picture comes after it."
            return "Other live sessions are painted first."
        if self._engine.status.state is not EngineState.READY:
            return "The worker is being started; painting goes on after that."
        return f"{self._stage}." if self._stage else ""

    def _on_step(self, step: StepProgress) -> None:
        self._stage = step.stage

    def _count(self, what: str) -> None:
        self.figures[what] += 1
        self._total[what] += 1

    def _check_size(self, field: str, extent: Extent | None) -> None:
        limit = self._limits.max_live_pixels
        if extent is not None and extent.area > limit:
            raise InvalidRequest(
                field,
                f"{extent.width} x {extent.height} px are too many for a live session, which may have {limit} "
                "(max_live_pixels); send a smaller canvas.",
                allowed=f"at most {limit} pixels",
            )


async def _given_up(flights: deque[asyncio.Task[Painted]]) -> None:
    """Ends what is under way; nobody is left to hear how."""
    for flight in flights:
        flight.cancel()
    if flights:
        await asyncio.wait(flights)
    while flights:
        flight = flights.popleft()
        if not flight.cancelled():
            flight.exception()


def idle_error(seconds: int) -> LimitExceeded:
    """For a session that nothing comes to, or that nobody takes pictures from."""
    return LimitExceeded(
        f"The live session was idle for {seconds} s (max_live_idle_seconds) and was ended; open it again.",
        limit="max_live_idle_seconds",
        value=str(seconds),
    )


def _untimed(told: LiveTold) -> LiveTold:
    """Without what differs from picture to picture."""
    return msgspec.structs.replace(told, seconds=0.0)
