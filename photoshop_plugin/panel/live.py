"""The live session of a panel: one thread looks at the document and sends what changed, another takes the pictures.
Every method returns at once. Knows neither Qt nor COM."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from photoshop_plugin.document import Capture, PlacedLayer
from photoshop_plugin.errors import Busy, PhotoshopError
from photoshop_plugin.host.interface import PhotoshopHost
from photoshop_plugin.live import (
    LiveRegion,
    canvas,
    fields_of,
    lay_live,
    region_of,
    within_selection,
)
from photoshop_plugin.panel.events import LiveEnded, LiveShown, PanelEvent, sentence_of
from photoshop_plugin.server import TellsLimits, require_size
from photoshop_plugin.settings import Settings
from scumble.client import Live, LivePicture, Pixels, ScumbleError

T = TypeVar("T")

_LEAST_SECONDS = 0.25
_SHARE = 3
"""Photoshop is asked for at most one part in so many of its time."""
_TURN_SECONDS = 0.2
"""How soon a thread sees that it is to end."""


class Session(Protocol):
    """What is needed of `scumble.client.LiveSession`."""

    @property
    def waiting(self) -> str: ...
    def send(self, pixels: Pixels) -> int: ...
    def change(self, **changes: Any) -> None: ...
    def latest(self, timeout: float | None = None) -> LivePicture | None: ...
    def close(self) -> None: ...


class LiveServer(TellsLimits, Protocol):
    """What is needed of `scumble.client.Client`."""

    def live(self, settings: Live) -> Session: ...


class LivePainting:
    """One session, from its start to its end.

    on_host: runs a call on the thread that owns Photoshop, and waits for it. connect: called on a thread of ours.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_host: Callable[[Callable[[PhotoshopHost], Any]], Any],
        connect: Callable[[], LiveServer],
        notify: Callable[[PanelEvent], None],
    ) -> None:
        self._on_host, self._connect, self._notify = on_host, connect, notify
        self._lock = threading.Lock()
        self._settings = settings
        self._seed = secrets.randbelow(2**32)
        self._ended = threading.Event()
        self._session: Session | None = None
        self._region: LiveRegion | None = None
        self._first: Capture | None = None
        self._sent: Pixels | None = None
        self._picture: LivePicture | None = None
        self._start(self._look)

    @property
    def running(self) -> bool:
        """Until it was stopped or has failed."""
        return not self._ended.is_set()

    def change(self, settings: Settings) -> None:
        """Paints like this from now on."""
        with self._lock:
            self._settings = settings

    def stop(self) -> None:
        """Ends it; its threads end by themselves. The last picture can still be laid back."""
        self._ended.set()

    def lay(self, host: PhotoshopHost) -> list[PlacedLayer]:
        """Makes the newest picture a layer. On the host's thread; empty where there is no picture."""
        region, capture, picture = self._region, self._first, self._picture
        if region is None or capture is None or picture is None:
            return []
        return lay_live(host, region, capture, picture, self._settings.prompt)

    def _start(self, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            except (PhotoshopError, ScumbleError) as error:
                self._fail(sentence_of(error))
            except Exception as error:
                if not self.running:
                    return  # the panel was closed
                self._fail(f"Something in Scumble's panel failed: {error!r}.")
                raise

        threading.Thread(target=run, name="scumble-live-panel", daemon=True).start()

    def _fail(self, sentence: str) -> None:
        if self.running:
            self._ended.set()
            self._notify(LiveEnded(sentence))

    def _look(self) -> None:
        """Opens the session, then sends what changed."""
        document = self._on_host(lambda host: host.describe())
        settings = self._settings
        region = self._region = region_of(document, settings)
        fields = fields_of(settings, region, self._seed)
        server = self._connect()
        require_size(region.bounds, server)
        session = self._session = server.live(Live(**fields))
        try:
            self._start(self._receive)
            mark = None
            while self.running:
                began = time.monotonic()
                if self._settings != settings:
                    settings = self._settings
                    session.change(**fields_of(settings, region, self._seed))
                with suppress(Busy):  # a long stroke, a dialog: the next turn sees what came of it
                    mark = self._sent_if_changed(session, region, mark)
                self._ended.wait(max(_LEAST_SECONDS, (_SHARE - 1) * (time.monotonic() - began)))
        finally:
            session.close()

    def _sent_if_changed(
        self, session: Session, region: LiveRegion, mark: str | None
    ) -> str | None:
        """The mark of what was sent last."""
        found: str | None = self._on_host(lambda host: host.look(region.document))
        if not self.running or found is None or (found and found == mark):
            return mark
        document = region.document
        if (
            self._first is not None
        ):  # what was selected at the beginning counts; it may be gone by now
            document = replace(document, selection=None)
        capture: Capture = self._on_host(
            lambda host: host.capture(document, region.bounds, region.source)
        )
        self._first = self._first or capture
        image = canvas(capture.image)
        # Other marks do not always mean other pixels: reading may leave a state to be redone, some modes have none.
        if self.running and (self._sent is None or image.view != self._sent.view):
            session.send(image)
            self._sent = image
        return found

    def _receive(self) -> None:
        session = self._session
        assert session is not None
        told = ""
        while self.running:
            picture = session.latest(_TURN_SECONDS)
            if picture is not None and not picture.unchanged:
                self._picture = picture
                told = ""
                self._notify(LiveShown(picture, self._seen(picture.pixels)))
            elif session.waiting != told:
                told = session.waiting
                self._notify(LiveShown(None, waiting=told))

    def _seen(self, picture: Pixels) -> Pixels:
        first, sent = self._first, self._sent
        if first is None or sent is None:
            return picture
        return within_selection(picture, sent, first.selection)
