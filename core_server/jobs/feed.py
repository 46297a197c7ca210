"""What watchers of an unfinished job see: all its state events, and the newest of its progress and previews."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager

from core_server.jobs.job import JobEvent

NUMBERS_PER_LIFE = 1_000_000
"""Numbers given out by one run of the server stay below the next multiple: progress events are not on disk, and a
watcher that saw some must not miss what follows a restart."""

_KEPT_PROGRESS = 256
_KEPT_PREVIEWS = 4


class Feed:
    """One log with a bounded tail, whatever the number and the speed of its watchers.

    A slow watcher skips progress and previews that newer ones have pushed out; it never misses a state.
    """

    def __init__(self, events: Iterable[JobEvent] = (), last_number: int = 0) -> None:
        self._states = list(events)
        self._position: JobEvent | None = None
        self._progress: deque[JobEvent] = deque(maxlen=_KEPT_PROGRESS)
        self._previews: deque[JobEvent] = deque(maxlen=_KEPT_PREVIEWS)
        self._last_number = last_number
        self._pending: int | None = None
        self._changed = asyncio.Event()
        self._closed = False
        self._lost: Exception | None = None

    @staticmethod
    def resumed(events: list[JobEvent]) -> Feed:
        """The feed of a job that an earlier run of the server accepted."""
        last = events[-1].number if events else 0
        return Feed(events, (last // NUMBERS_PER_LIFE + 1) * NUMBERS_PER_LIFE)

    @property
    def last_number(self) -> int:
        """The newest number up to which everything can be seen."""
        return self._last_number if self._pending is None else self._pending - 1

    def next_number(self) -> int:
        """A number larger than all before."""
        self._last_number += 1
        return self._last_number

    @contextmanager
    def pending(self) -> Iterator[int]:
        """The number of an event that is not on disk yet: what comes meanwhile is shown once it is published, or once
        the context ends without it. One at a time."""
        self._pending = self.next_number()
        try:
            yield self._pending
        finally:
            if self._pending is not None:
                self._pending = None
                self._wake()

    def publish(self, event: JobEvent) -> None:
        """Shows an event to all watchers; nothing follows a final state."""
        if self._closed:
            return
        if event.number == self._pending:
            self._pending = None
        if event.state is not None:
            self._position = None
            self._states.append(event)
            self._closed = event.state.is_final
        elif event.progress is not None:
            self._progress.append(event)
        else:
            self._previews.append(event)
        self._wake()

    def publish_position(self, event: JobEvent) -> None:
        """Shows how far the queue has moved; only the newest is kept."""
        self._position = event
        self._wake()

    def forget_previews(self) -> None:
        """For a job that has ended: who comes back late is told of every step, and sees the picture itself."""
        self._previews.clear()

    def interrupt(self, error: Exception) -> None:
        """Ends every watch with an error."""
        self._lost = error
        self._wake()

    async def watch(self, after: int) -> AsyncIterator[JobEvent]:
        """Events with larger numbers, in order, until the final one. Errors: what `interrupt` was given."""
        while True:
            changed = self._changed
            for event in self._after(after):
                yield event
                after = event.number
            if self._lost is not None:
                raise self._lost
            if self._closed and not any(self._after(after)):
                return
            if changed is self._changed:
                await changed.wait()

    def _after(self, number: int) -> Iterator[JobEvent]:
        """A copy of what is kept, so that events may come while a watcher is slow."""
        moved = () if self._position is None else (self._position,)
        kept = (*self._states, *moved, *self._progress, *self._previews)
        end = self._states[-1].number if self._closed else self.last_number
        return iter(
            sorted((it for it in kept if number < it.number <= end), key=lambda it: it.number)
        )

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
