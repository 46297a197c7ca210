"""How long a running job will still take, from the time its steps have taken."""

from __future__ import annotations

_NEWEST_SHARE = 0.2


class StepClock:
    """Smoothed time per step. The first step is left out: it pays for loading, compiling and warming up."""

    def __init__(self) -> None:
        self._last: tuple[int, float] | None = None
        self._seconds_per_step: float | None = None

    def remaining(self, step: int, steps: int, now: float) -> float | None:
        """Seconds until the last step is done; None until two steps are. now: seconds of a steady clock."""
        if self._last is not None and step > self._last[0]:
            newest = (now - self._last[1]) / (step - self._last[0])
            known = self._seconds_per_step
            self._seconds_per_step = (
                newest if known is None else known + _NEWEST_SHARE * (newest - known)
            )
        if self._last is None or step > self._last[0]:
            self._last = (step, now)
        if self._seconds_per_step is None:
            return None
        return max(steps - step, 0) * self._seconds_per_step
