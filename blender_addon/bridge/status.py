"""What the panel shows, kept up to date from events. Plain values; the panel only draws them."""

from __future__ import annotations

from dataclasses import dataclass

from . import events


@dataclass(slots=True)
class Status:
    """The state of the add-on, for people."""

    server: str = "Not asked yet"
    server_reachable: bool | None = None
    """None until the server was asked."""
    busy: bool = False
    prefix: str = ""
    """What the work is a part of, such as a frame of an animation."""
    fraction: float = 0.0
    stage: str = ""
    remaining_seconds: float | None = None
    error: str = ""
    """Why the last generation has no picture; "" if it has."""
    note: str = ""
    """What the last generation did to the file."""

    def start(self) -> None:
        """A generation was asked for."""
        self.busy, self.error, self.note = True, "", ""
        self.fraction, self.stage, self.remaining_seconds = 0.0, "Connecting", None

    def fail(self, sentence: str) -> None:
        """Ended without a picture."""
        self.busy, self.error = False, sentence

    def apply(self, event: events.Event) -> None:
        """Takes an event in."""
        match event:
            case events.ServerChecked():
                self.server, self.server_reachable = event.text, event.reachable
                if self.busy and not event.reachable:
                    # The client looks for the server for a minute and then goes on where it was.
                    self.stage, self.remaining_seconds = "Waiting for the server", None
            case events.Queued():
                self.stage = f"Waiting behind {event.ahead}" if event.ahead else "Waiting"
            case events.Progressed():
                self.fraction = min(1.0, max(0.0, event.fraction))
                self.stage, self.remaining_seconds = event.stage, event.remaining_seconds
            case events.Painted():
                self.busy, self.error, self.fraction = False, "", 1.0
            case events.Failed():
                self.fail(event.message)
            case events.Cancelled():
                self.busy, self.note = False, "Cancelled"
            case events.Previewed():
                pass

    @property
    def progress_text(self) -> str:
        """For the progress bar: "Painting 40 %, 12 s left"."""
        text = f"{self.stage} {self.fraction * 100:.0f} %" if self.fraction else self.stage
        if self.prefix:
            text = f"{self.prefix}: {text}"
        if self.remaining_seconds is None:
            return text
        return f"{text}, {format_seconds(self.remaining_seconds)} left"


def format_seconds(seconds: float) -> str:
    """ "8 s", "2 min 05 s", "1 h 10 min"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"
