"""What the bridge tells the main thread. `ticket` is the number `Session.generate` returned."""

from __future__ import annotations

from dataclasses import dataclass

from .pictures import Picture, Thumbnail


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What can be chosen on the server. models: id and title."""

    models: tuple[tuple[str, str], ...] = ()
    loras: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerChecked:
    """The server answered (reachable) or did not, and its worker is loaded (ready); text is for the panel."""

    reachable: bool
    text: str
    ready: bool = False
    catalogue: Catalogue | None = None
    """What it has; None where it was not asked."""


@dataclass(frozen=True, slots=True)
class Queued:
    """Accepted and waiting behind `ahead` other jobs."""

    ticket: int
    ahead: int


@dataclass(frozen=True, slots=True)
class Progressed:
    """fraction 0..1; remaining_seconds None until it can be estimated; stage is a word or two for people."""

    ticket: int
    fraction: float
    stage: str
    remaining_seconds: float | None


@dataclass(frozen=True, slots=True)
class Previewed:
    """A rough look at the unfinished picture."""

    ticket: int
    thumbnail: Thumbnail


@dataclass(frozen=True, slots=True)
class Painted:
    """Done. The pictures (maps and tiles of one variation share its seed) are ready to become images; the thumbnail
    shows the first."""

    ticket: int
    pictures: tuple[Picture, ...]
    thumbnail: Thumbnail


@dataclass(frozen=True, slots=True)
class Failed:
    """Ended without a picture; message is one sentence for people."""

    ticket: int
    message: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Ended because the artist, or somebody at the server, asked for it."""

    ticket: int


Event = ServerChecked | Queued | Progressed | Previewed | Painted | Failed | Cancelled
FINAL = (Painted, Failed, Cancelled)
