"""Joins the bridge and Blender: takes events in on the main thread and lays results into the file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from ..bridge import connector, events
from ..bridge.errors import BridgeError, Busy
from ..bridge.pictures import FloatArray, Picture, Source
from ..bridge.request import Server, Work
from ..bridge.server_process import ServerProcess
from ..bridge.session import Session
from ..bridge.status import Status
from . import images, windows
from .frames import FrameBatch, Plan
from .kept import Kept
from .landing import Landing
from .live import LivePainting
from .preview import Preview

_CHECK_SECONDS = 3.0
_QUIET_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class _Order:
    """What to do with the result of a ticket."""

    ticket: int
    prompt: str
    where: Landing
    editor: int
    """Pointer of the Image Editor the artist pressed Generate in; 0 elsewhere."""
    spare: FloatArray | None
    """Memory of the size of the image that is written over, no longer needed once the pictures are there."""


class Controller:
    """The add-on while it is enabled. Main thread only; nothing here waits."""

    def __init__(self) -> None:
        self.session = Session(connector.connect)
        self.server_process = ServerProcess()
        self.status = Status()
        self.preview = Preview()
        self.catalogue = events.Catalogue()
        """What the server has; empty until it was asked."""
        self.memory: events.Memory | None = None
        """What the server's device has; None until it was asked."""
        self.last_images: list[str] = []
        """Names of the images the last generation made."""
        self.variations: list[tuple[Picture, ...]] = []
        """What there is to pick from, while nothing has been picked."""
        self.chosen = 0
        """Which variation is shown large."""
        self.kept = Kept()
        self.live = LivePainting()
        self.batch: FrameBatch | None = None
        """The animation that is being restyled."""
        self._outcome: events.Event | None = None
        self._order: _Order | None = None
        self._laying: Iterator[None] | None = None
        self._panel_drawn = False
        self._server_starts = False
        self._checked_at = float("-inf")
        self._heard_at = float("-inf")

    @property
    def busy(self) -> bool:
        """Whether a generation is under way, its result not yet laid, or an animation with frames to come."""
        return self.session.busy or self._laying is not None or self.batch is not None

    @property
    def laying(self) -> bool:
        """Whether a result is there that is not wholly laid."""
        return self._laying is not None

    def generate(
        self,
        server: Server,
        work: Work,
        where: Landing,
        editor: int = 0,
    ) -> None:
        """Starts a generation. Variations nobody has picked from are forgotten. Raises bridge.errors.Busy."""
        self._finish_laying()
        ticket = self.session.generate(server, work)
        sources: tuple[Source, ...] = getattr(work, "sources", ())
        spare = sources[0].flat if len(sources) == 1 else None
        self._order = _Order(ticket, work.prompt, where, editor, spare)
        self.last_images = []
        self.discard()
        self.status.start()
        self.preview.clear()

    def restyle(self, plan: Plan, server: Server) -> None:
        """Starts on an animation; `pump` goes from frame to frame. Raises bridge.errors.Busy."""
        if self.busy:
            raise Busy("Scumble is already painting: wait for it or cancel it first.")
        self.status.start()
        self._outcome = None
        self.batch = FrameBatch(plan, server, self.generate)
        self._turn_batch()

    def _turn_batch(self) -> None:
        """The animation goes on where nothing is being painted."""
        batch = self.batch
        if batch is None or self.session.busy:
            return
        outcome, self._outcome = self._outcome, None
        batch.tick(outcome)
        if batch.ended:
            self.batch, self.status.prefix = None, ""
            if batch.failed:
                self.status.fail(batch.ended)
            else:
                self.status.busy, self.status.note = False, batch.ended
        else:
            self.status.prefix = batch.now
            if not self.session.busy:
                self.status.stage, self.status.fraction = batch.stage, 0.0
                self.status.busy, self.status.error = True, ""

    def cancel(self) -> None:
        """Ends the running generation; the panel is free with the next pump. The done frames of an animation stay."""
        if self.batch is not None and not self.session.busy:
            self._outcome = events.Cancelled(0)
        self._finish_laying()  # too late: half an image is none
        self.session.cancel()

    def choose(self, number: int) -> None:
        """Shows a variation large."""
        self.chosen = number
        self.preview.show(self.variations[number][0].thumbnail)

    def accept(self, number: int) -> None:
        """Lays a variation into the file, at once; the others are forgotten."""
        pictures, self.variations = self.variations[number], []
        self.preview.clear_strip()
        self._lay(pictures)
        self._finish_laying()

    def keep_all(self, number: int) -> None:
        """Keeps all variations as images of their own and lays one of them."""
        others = [v for k, v in enumerate(self.variations) if k != number]
        prompt = self._order.prompt if self._order else ""
        kept = [images.create_image(v[0], prompt) for v in others if not v[0].tile]
        for image in kept:
            image.use_fake_user = True  # nothing shows them, and saving would drop them
        self.accept(number)
        self.last_images += [image.name for image in kept]

    def discard(self) -> None:
        """Forgets the variations; the file stays as it is."""
        self.variations, self.chosen = [], 0
        self.preview.clear_strip()

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
        changed = self._go_on_laying()
        for event in self.session.pump():
            before = self.status.server
            self.status.apply(event)
            match event:
                case events.ServerChecked():
                    self._panel_drawn = False
                    self.catalogue = event.catalogue or self.catalogue
                    self.memory = event.memory or self.memory
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
                    self._take(event)
                case events.Failed() | events.Cancelled():
                    self.preview.clear()
            if isinstance(event, events.FINAL):
                self._outcome = event
            changed = True
            self._heard_at = time.monotonic()
        self._turn_batch()
        return changed

    def file_closes(self) -> None:
        """Another file is about to be read: what is being painted has nowhere to go any more."""
        self._finish_laying()
        if self.busy:
            self.cancel()
            self.pump()
            self.status.note = "Cancelled: the file was closed."
        if self.live.running:
            self.live.end("Live painting ended: the file was closed.")
        self.live.forget()
        self.preview.clear()
        self.discard()
        self.kept.forget()

    def close(self) -> None:
        """The add-on is disabled or Blender quits: no job, thread, process or icon stays behind."""
        self._finish_laying()
        self.live.close()
        if self.batch is not None:
            self.batch.end("Scumble was switched off.")
            self.batch = None
        self.session.close()
        self.server_process.stop()
        self.preview.close()

    def _take(self, painted: events.Painted) -> None:
        """One variation is laid at once; several wait to be picked from."""
        order = self._order
        if order is None or order.ticket != painted.ticket:
            return
        # Maps and tiles of one variation share its seed.
        seeds = dict.fromkeys(picture.seed for picture in painted.pictures)
        found = [tuple(p for p in painted.pictures if p.seed == seed) for seed in seeds]
        if len(found) == 1:
            self._lay(found[0])
            return
        self.variations, self.chosen = found, 0
        self.preview.show_strip([pictures[0].thumbnail for pictures in found])
        self.status.note = " ".join(
            [f"Painted {len(found)} variations: pick one.", *_sentences(painted.pictures)]
        )

    def _lay(self, pictures: tuple[Picture, ...]) -> None:
        """Begins to lay pictures where they belong; `pump` goes on with it."""
        order, self._order = self._order, None
        if order is not None:
            self._laying = self._steps(order, pictures)
            self._go_on_laying()

    def _go_on_laying(self) -> bool:
        """The next step; whether there was one."""
        laying, self._laying = self._laying, None
        for _ in laying or ():
            self._laying = laying
            break
        return laying is not None

    def _finish_laying(self) -> None:
        """All steps that are left, at once."""
        while self._laying is not None:
            self._go_on_laying()

    def _steps(self, order: _Order, pictures: tuple[Picture, ...]) -> Iterator[None]:
        """Pictures -> images -> where they belong, as one undo step. With floats each part of it has a tick."""
        where = order.where
        try:
            if (target := where.overwritten()) is not None:
                self.kept.keep(target, order.spare)
                if pictures[0].exr is not None:
                    yield
            made, done = where.lay(pictures, order.prompt)
        except BridgeError as error:
            self.status.fail(str(error))
            return
        except (RuntimeError, ValueError) as error:
            self.status.fail(f"The picture was painted, but Blender refused it: {error}")
            raise
        self.last_images = [image.name for image in made]
        if target is not None and not pictures[0].tile:
            if pictures[0].exr is not None:
                yield
            target = where.overwritten()  # the artist may have deleted it
            made = [target] if target is not None else []
            for image in made:
                images.show_written(image, pictures[0])
        self.status.note = " ".join([done, *_sentences(pictures)])
        if not made:
            return
        windows.show_image(made[0], order.editor)
        for image in made:
            image.update_tag()  # else the viewport keeps what it drew before
        windows.redraw_editors()
        windows.push_undo(where.title)


def _sentences(pictures: tuple[Picture, ...]) -> list[str]:
    """The server's notes, each once, as sentences."""
    notes = dict.fromkeys(note for picture in pictures for note in picture.notes)
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
