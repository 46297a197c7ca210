"""Joins the bridge and Blender: takes events in on the main thread and lays results into the file."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ..bridge import connector, events
from ..bridge.request import Server, TextureRequest
from ..bridge.server_process import ServerProcess
from ..bridge.session import Session
from ..bridge.status import Status
from . import images, materials, windows
from .preview import Preview

_CHECK_SECONDS = 3.0
_QUIET_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class _Order:
    """What to do with the result of a ticket."""

    ticket: int
    prompt: str
    where: materials.Destination
    editor: int
    """Pointer of the Image Editor the artist pressed Generate in; 0 elsewhere."""


class Controller:
    """The add-on while it is enabled. Main thread only; nothing here waits."""

    def __init__(self) -> None:
        self.session = Session(connector.connect)
        self.server_process = ServerProcess()
        self.status = Status()
        self.preview = Preview()
        self.last_images: list[str] = []
        """Names of the images the last generation made."""
        self._order: _Order | None = None
        self._panel_drawn = False
        self._server_starts = False
        self._checked_at = float("-inf")
        self._heard_at = float("-inf")

    @property
    def busy(self) -> bool:
        """Whether a generation is under way."""
        return self.session.busy

    def generate(
        self,
        server: Server,
        request: TextureRequest,
        where: materials.Destination,
        editor: int = 0,
    ) -> None:
        """Starts a generation. Raises bridge.errors.Busy."""
        ticket = self.session.generate(server, request)
        self._order = _Order(ticket, request.prompt, where, editor)
        self.last_images = []
        self.status.start()
        self.preview.clear()

    def cancel(self) -> None:
        """Ends the running generation; the panel is free with the next pump."""
        self.session.cancel()

    def check(self, server: Server) -> None:
        """Asks the server who it is."""
        self._checked_at = time.monotonic()
        self.session.check(server)

    def panel_drawn(self) -> None:
        """A panel is on screen, so its line about the server is worth keeping true."""
        self._panel_drawn = True

    @property
    def wants_check(self) -> bool:
        """Whether a check is due: the panel was drawn since the last one, the server is starting, or a running job has
        become quiet."""
        now = time.monotonic()
        if now - self._checked_at < _CHECK_SECONDS:
            return False
        return (
            now - self._heard_at > _QUIET_SECONDS
            if self.busy
            else self._panel_drawn or self._server_starts
        )

    def pump(self) -> bool:
        """Takes the bridge's events in; whether there was anything to show."""
        changed = False
        for event in self.session.pump():
            before = self.status.server
            self.status.apply(event)
            match event:
                case events.ServerChecked():
                    self._panel_drawn = False
                    self._server_starts = not event.ready and (
                        event.reachable or self.server_process.running
                    )
                    if not event.reachable and (reason := self.server_process.last_words()):
                        self.status.server = f"The server ended: {reason}"
                    changed |= self.status.server != before
                    continue
                case events.Previewed():
                    self.preview.show(event.thumbnail)
                case events.Painted():
                    self.preview.show(event.thumbnail)
                    self._lay(event)
                case events.Failed() | events.Cancelled():
                    self.preview.clear()
            changed = True
            self._heard_at = time.monotonic()
        return changed

    def file_closes(self) -> None:
        """Another file is about to be read: what is being painted has nowhere to go any more."""
        if self.busy:
            self.cancel()
            self.pump()
            self.status.note = "Cancelled: the file was closed."
        self.preview.clear()

    def close(self) -> None:
        """The add-on is disabled or Blender quits: no job, thread, process or icon stays behind."""
        self.session.close()
        self.server_process.stop()
        self.preview.close()

    def _lay(self, painted: events.Painted) -> None:
        """Result -> images -> material, as one undo step."""
        order, self._order = self._order, None
        if order is None or order.ticket != painted.ticket:
            return
        try:
            made = [images.create_image(picture, order.prompt) for picture in painted.pictures]
            done = materials.put(made[0], order.where)
            self.status.note = " ".join([done, *_sentences(painted)])
        except (RuntimeError, ValueError) as error:
            self.status.fail(f"The texture was painted, but Blender refused it: {error}")
            raise
        self.last_images = [image.name for image in made]
        windows.show_image(made[0], order.editor)
        for image in made:
            image.update_tag()  # else the viewport keeps what it drew before
        windows.redraw_editors()
        windows.push_undo("Scumble: Generate Texture")


def _sentences(painted: events.Painted) -> list[str]:
    """The server's notes, each once, as sentences."""
    notes = dict.fromkeys(note for picture in painted.pictures for note in picture.notes)
    return [f"{note[:1].upper()}{note[1:].rstrip('.')}." for note in notes]


class _Running:
    """Holds the one controller while the add-on is enabled."""

    controller: Controller | None = None


def start() -> Controller:
    """Makes the controller; called once by `register`."""
    _Running.controller = Controller()
    return _Running.controller


def get() -> Controller:
    """The controller. Raises RuntimeError while the add-on is disabled."""
    if _Running.controller is None:
        raise RuntimeError("Scumble is not enabled")
    return _Running.controller


def stop() -> None:
    """Ends everything; called once by `unregister`."""
    if _Running.controller is not None:
        _Running.controller.close()
        _Running.controller = None
