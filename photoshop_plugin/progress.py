"""Progress for people, on one line of a terminal or as plain lines elsewhere."""

from __future__ import annotations

from typing import TextIO

from photoshop_plugin.flow import Submitted
from scumble.client import Event, JobState

_BAR_CELLS = 24


class Progress:
    """Turns the events of an inpaint into text on a stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._last = ""
        self._width = 0

    def __call__(self, event: Submitted | Event) -> None:
        """Shows an event."""
        text = _text(event)
        if text and text != self._last:
            self.say(text, keep=False)

    def say(self, text: str, *, keep: bool = True) -> None:
        """Shows a line; on a terminal one that is not kept is overwritten by the next."""
        self._last = text
        if not self._live:
            self._stream.write(f"{text}\n")
        else:
            self._stream.write("\r" + text.ljust(self._width) + ("\n" if keep else ""))
            self._width = 0 if keep else len(text)
        self._stream.flush()

    def end(self) -> None:
        """Leaves a line that is still open."""
        if self._width:
            self._stream.write("\n")
            self._stream.flush()
            self._width = 0


def _text(event: Submitted | Event) -> str:
    if isinstance(event, Submitted):
        box = event.plan.mask if event.plan is not None else event.bounds
        return f"Repainting within {box.width} x {box.height} px at {box.x}, {box.y} (job {event.job_id})"
    if event.state is JobState.QUEUED and event.queue_position:
        return f"Waiting: {event.queue_position} ahead"
    if event.progress is None:
        return ""
    progress = event.progress
    if not progress.steps:
        return progress.stage
    done = round(_BAR_CELLS * progress.fraction)
    left = progress.remaining_seconds
    return (
        f"{progress.stage} [{'#' * done}{'.' * (_BAR_CELLS - done)}] {progress.step}/{progress.steps}"
        + (f", {left:.0f} s left" if left is not None else "")
    )
