"""Who has the engine: jobs, and the frames of live sessions between them.

Frames go first, so that painting feels live, and a job waits for a pause in it. It never waits longer than
`hold_seconds` from when it asked, or from the end of the job before it: then it is next, and frames wait for its end.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

QUIET_SECONDS = 0.3
"""So long after a frame nobody paints any more: the stroke is over."""
MOST_FRAMES = 2
"""Under way at once: one on the device, one that is to follow it."""


class Turns:
    """One at a time. clock: seconds that never jump."""

    def __init__(self, hold_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._hold_seconds = hold_seconds
        self._clock = clock
        self._jobs: deque[tuple[asyncio.Future[None], float]] = deque()
        self._frames: deque[tuple[asyncio.Future[None], bool]] = deque()
        self._taken = ""
        self._on = 0
        self._last_job = self._last_frame = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    @property
    def taken_by(self) -> str:
        """ "job", "frame" or "" for nobody."""
        return self._taken

    @property
    def is_quiet(self) -> bool:
        """Whether nobody paints live, so that jobs may follow each other in one turn."""
        return not self._frames and self._clock() >= self._last_frame + QUIET_SECONDS

    @asynccontextmanager
    async def job(self) -> AsyncIterator[None]:
        """The engine for one job."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._jobs.append((turn, self._clock()))
        try:
            self._advance()
            await turn
            yield
        finally:
            self._jobs = deque(it for it in self._jobs if it[0] is not turn)
            if turn.done() and not turn.cancelled():
                self._last_job = self._clock()
                self._taken = ""
            self._advance()

    @asynccontextmanager
    async def frame(self, *, beside: bool = False) -> AsyncIterator[None]:
        """The engine for one frame; sessions take turns. beside: it may begin while one other frame has it."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asked = (turn, beside)
        self._frames.append(asked)
        try:
            self._advance()
            await turn
            yield
        finally:
            if asked in self._frames:
                self._frames.remove(asked)
            if turn.done() and not turn.cancelled():
                self._last_frame = self._clock()
                self._on -= 1
                self._taken = "frame" if self._on else ""
            self._advance()

    def _advance(self) -> None:
        """Gives the engine to whoever is next, or looks again when a job may have it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._taken == "job":
            return
        wait = self._job_waits()
        if self._taken:
            is_due = wait is not None and wait <= 0
            if self._frames and self._frames[0][1] and self._on < MOST_FRAMES and not is_due:
                self._grant(self._frames.popleft()[0], "frame")
            return
        if wait is not None and wait <= 0:
            self._grant(self._jobs.popleft()[0], "job")
        elif self._frames:
            self._grant(self._frames.popleft()[0], "frame")
        elif wait is not None:
            self._timer = asyncio.get_running_loop().call_later(wait, self._advance)

    def _job_waits(self) -> float | None:
        """Seconds until the first job may run; None where none wants to."""
        if not self._jobs:
            return None
        now = self._clock()
        due = max(self._jobs[0][1], self._last_job) + self._hold_seconds
        if not self._frames:
            due = min(due, self._last_frame + QUIET_SECONDS)
        return due - now

    def _grant(self, turn: asyncio.Future[None], kind: str) -> None:
        if turn.cancelled():
            self._advance()
            return
        self._taken = kind
        self._on += kind == "frame"
        turn.set_result(None)
