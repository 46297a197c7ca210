"""How a thread waits for a frame on the device: asleep for most of it, turning at its end.

A sleeping thread comes 0.1 to 0.2 ms late, a turning one takes a core. Frames of a session take about the same time, so
the thread sleeps as long as the last ones took, but for the last part.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from statistics import median
from typing import Protocol

_RECENT = 5
_TURN_SECONDS = 0.0006
"""Turned for each frame, at most where it takes as long as the last ones."""
_LOOK_SECONDS = 0.001
"""Between two looks while nothing is known, and at least so often at the end of what is."""


class Event(Protocol):
    """A `torch.cuda.Event` that turns when it synchronizes."""

    def query(self) -> bool:
        """Whether it has happened."""

    def synchronize(self) -> None:
        """Returns when it has."""


class Waits:
    """Of one model's frames. Several threads may wait, one after the other."""

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._recent: deque[float] = deque(maxlen=_RECENT)

    def until(self, event: Event) -> None:
        """Returns when it has happened. Errors: those of the device."""
        start = self._clock()
        known = list(self._recent)
        wake = start + median(known) - _TURN_SECONDS if known else float("inf")
        while (left := wake - self._clock()) > 0 and not event.query():
            self._sleep(min(left, max(left / 4, _LOOK_SECONDS)) if known else _LOOK_SECONDS)
        event.synchronize()
        self._recent.append(self._clock() - start)
