"""What the bridge tells the main thread. `ticket` is the number `Session.generate` returned."""

from __future__ import annotations

from dataclasses import dataclass

from .pictures import Picture, Thumbnail


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What can be chosen on the server.

    models: id and title. default_model: the id of the one that paints where none is chosen. sizes: what each paints
    best, width and height, px. loras, styles and schedulers: names; schedulers are the default model's.
    """

    models: tuple[tuple[str, str], ...] = ()
    default_model: str = ""
    sizes: tuple[tuple[str, int, int], ...] = ()
    loras: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    schedulers: tuple[str, ...] = ()

    def size_of(self, model: str) -> tuple[int, int] | None:
        """What a model ("" for the default one) paints best; None where the server does not say."""
        wanted = model or self.default_model
        return next(((w, h) for name, w, h in self.sizes if name == wanted), None)


@dataclass(frozen=True, slots=True)
class Memory:
    """Of the server's device, bytes; the largest picture that is painted in one piece, px."""

    total: int
    free: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ServerChecked:
    """The server answered (reachable) or did not, and its worker is loaded (ready); text is for the panel."""

    reachable: bool
    text: str
    ready: bool = False
    catalogue: Catalogue | None = None
    """What it has; None where it was not asked."""
    memory: Memory | None = None


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
    reason: str = ""
    """The client library's name of it, such as "UNAVAILABLE"."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Ended because the artist, or somebody at the server, asked for it."""

    ticket: int


Event = ServerChecked | Queued | Progressed | Previewed | Painted | Failed | Cancelled
FINAL = (Painted, Failed, Cancelled)
