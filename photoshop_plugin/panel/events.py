"""What the controller tells the window. Frozen values, sent from its threads."""

from __future__ import annotations

from dataclasses import dataclass

from photoshop_plugin.document import Document, PlacedLayer
from photoshop_plugin.generation import Prepared
from photoshop_plugin.panel.history import Entry
from photoshop_plugin.task import Task
from scumble.client import AdapterInfo, Event, LivePicture, Model, Pixels, ServerInfo, Style


@dataclass(frozen=True, slots=True)
class DocumentSeen:
    """The document in front, or the sentence why there is none. ready: whether Generate would work on it."""

    document: Document | None
    trouble: str = ""

    @property
    def ready(self) -> bool:
        """Whether it can be painted on."""
        return self.document is not None and not self.trouble


@dataclass(frozen=True, slots=True)
class ServerSeen:
    """The server, or the sentence why there is none. Its lists are told while its worker is ready."""

    info: ServerInfo | None
    models: tuple[Model, ...] = ()
    adapters: tuple[AdapterInfo, ...] = ()
    styles: tuple[Style, ...] = ()
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """A request was read from the document; `job_id` is "" as long as the server does not have it."""

    prepared: Prepared
    job_id: str = ""


@dataclass(frozen=True, slots=True)
class Working:
    """News of the job: state, progress, preview."""

    event: Event


@dataclass(frozen=True, slots=True)
class Finished:
    """The pictures are there, and in the history."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Applied:
    """Pictures became layers, or what the task makes of them."""

    layers: tuple[PlacedLayer, ...]
    task: Task = Task.FILL


@dataclass(frozen=True, slots=True)
class Stopped:
    """A generation, or an apply, came to nothing. sentence: "" where the artist cancelled it."""

    sentence: str = ""


@dataclass(frozen=True, slots=True)
class LiveShown:
    """The newest live picture, or why it takes so long. seen: the picture above the canvas, within the selection."""

    picture: LivePicture | None
    seen: Pixels | None = None
    waiting: str = ""


@dataclass(frozen=True, slots=True)
class LiveEnded:
    """Live painting is over. sentence: "" where the artist ended it."""

    sentence: str = ""


PanelEvent = (
    DocumentSeen
    | ServerSeen
    | Sent
    | Working
    | Finished
    | Applied
    | Stopped
    | LiveShown
    | LiveEnded
)


def sentence_of(error: Exception) -> str:
    """What an artist is told of it."""
    return " ".join([str(error), *getattr(error, "__notes__", [])])
