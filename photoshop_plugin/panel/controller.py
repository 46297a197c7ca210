"""What the panel does: every method returns at once, news comes through `notify`. Knows neither Qt nor COM.

One thread talks to Photoshop, another one runs a generation, a third applies, a fourth looks at the server; so nothing
that hangs holds up the window, and a busy Photoshop does not hold up the job.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace

from photoshop_plugin.document import PlacedLayer
from photoshop_plugin.errors import DocumentRefused, PhotoshopError
from photoshop_plugin.generation import prepare
from photoshop_plugin.host.interface import PhotoshopHost
from photoshop_plugin.panel.events import (
    Applied,
    DocumentSeen,
    Finished,
    PanelEvent,
    Sent,
    Stopped,
    Working,
    sentence_of,
)
from photoshop_plugin.panel.history import Entry, History, entry_of
from photoshop_plugin.panel.live import LivePainting
from photoshop_plugin.panel.server_link import Connect, ServerLink
from photoshop_plugin.panel.worker import Worker
from photoshop_plugin.placing import Place, lay, place_of
from photoshop_plugin.server import SubmittedJob
from photoshop_plugin.settings import Settings
from photoshop_plugin.task import Task
from scumble.client import Cancelled, Patch, Pixels, ScumbleError

OpenHost = Callable[[], AbstractContextManager[PhotoshopHost]]
_NO_PICTURE = "There is no live picture yet; wait for the first one."


class PanelController:
    """One panel's work.

    open_host: called on the host's thread when Photoshop is first needed, and again after it failed. connect: finds
    and connects to the server. thumbnail: PNG bytes of pixels. notify: called from any thread.
    """

    def __init__(
        self,
        open_host: OpenHost,
        connect: Connect,
        history: History,
        *,
        thumbnail: Callable[[Pixels], bytes],
        notify: Callable[[PanelEvent], None],
    ) -> None:
        self._open_host, self.server = open_host, ServerLink(connect)
        self._history, self._history_lock = history, threading.Lock()
        self._thumbnail, self._notify = thumbnail, notify
        self._host_thread = Worker("scumble-host")
        self._job_thread = Worker("scumble-job")
        self._apply_thread = Worker("scumble-apply")
        self._server_thread = Worker("scumble-server")
        self._threads = (
            self._job_thread,
            self._apply_thread,
            self._server_thread,
            self._host_thread,
        )
        self._closed = False
        self._host: PhotoshopHost | None = None
        self._host_context: AbstractContextManager[PhotoshopHost] | None = None
        self._looking, self._asking = threading.Event(), threading.Event()
        self._cancel = threading.Event()
        self._job: SubmittedJob | None = None
        self._working = threading.Event()
        self._live: LivePainting | None = None

    @property
    def working(self) -> bool:
        """Whether a generation is under way."""
        return self._working.is_set()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The history, newest first."""
        with self._history_lock:
            return self._history.entries

    def look(self) -> None:
        """Looks at the document in front, unless the last look has not ended; then DocumentSeen."""
        if not self._looking.is_set():
            self._looking.set()
            self._start(self._host_thread, self._look)

    def look_at_server(self) -> None:
        """Looks at the server, unless the last look has not ended; then ServerSeen."""
        if not self._asking.is_set():
            self._asking.set()
            self._start(self._server_thread, self._look_at_server)

    def generate(self, settings: Settings) -> None:
        """Sent (before and after the server has it), Working ..., and Finished or Stopped. One at a time."""
        if self._working.is_set():
            return
        self._cancel.clear()
        self._working.set()
        self._start(self._job_thread, lambda: self._generate(settings))

    def cancel(self) -> None:
        """Ends the generation that is under way, if any; then Stopped."""
        self._cancel.set()
        job = self._job
        if job is not None:
            self._start(self._server_thread, lambda: self._quietly(job.cancel))

    def apply(self, job_id: str, indices: Sequence[int]) -> None:
        """Makes pictures of the history layers, the first one shown; then Applied or Stopped."""
        self._start(self._apply_thread, lambda: self._apply(job_id, list(indices)))

    @property
    def is_live(self) -> bool:
        """Whether live painting runs."""
        return self._live is not None and self._live.running

    def start_live(self, settings: Settings) -> None:
        """Paints what is selected, or all, again and again: LiveShown ..., and LiveEnded if it fails."""
        self.stop_live()
        self._live = LivePainting(
            settings,
            on_host=lambda call: self._host_thread.submit(lambda: call(self._photoshop())).result(),
            connect=self.server.get,
            notify=lambda event: self._notify(event),  # noqa: PLW0108 - closing replaces it
        )

    def change_live(self, settings: Settings) -> None:
        """The next live picture is painted like this."""
        if self._live is not None:
            self._live.change(settings)

    def stop_live(self) -> None:
        """Ends live painting, if it runs; its last picture can still be applied."""
        if self._live is not None:
            self._live.stop()

    def apply_live(self) -> None:
        """Ends live painting and makes its newest picture a layer; then Applied or Stopped."""
        live = self._live
        if live is not None:
            live.stop()
            self._start(self._host_thread, lambda: self._lay_live(live))

    def discard(self, job_id: str, indices: Sequence[int]) -> None:
        """Takes pictures off the history."""
        with self._history_lock:
            self._history.discard(job_id, indices)

    def close(self) -> None:
        """Cancels, lets go of Photoshop and the server. Does not wait for a Photoshop that hangs."""
        self.cancel()
        self.stop_live()
        self._closed = True
        # The window goes with its last reference, which must not be one of these threads'.
        self._notify = lambda event: None
        with suppress(RuntimeError):  # closed before
            self._host_thread.submit(self._close_host)
        for thread in self._threads:
            thread.shutdown()

    def _start(self, thread: Worker, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            except (PhotoshopError, ScumbleError) as error:
                self._notify(Stopped(sentence_of(error)))
            except Exception as error:  # a mistake of ours must not leave the panel waiting
                if self._closed:
                    return
                self._notify(Stopped(f"Something in Scumble's panel failed: {error!r}."))
                raise

        with suppress(RuntimeError):  # closed meanwhile
            thread.submit(run)

    # On the host's thread.
    def _look(self) -> None:
        try:
            seen = self._seen()
        finally:
            self._looking.clear()  # before the news: whoever gets them may look again
        self._notify(seen)

    def _seen(self) -> DocumentSeen:
        try:
            document = self._photoshop().describe()
        except PhotoshopError as error:
            return DocumentSeen(None, sentence_of(error))
        try:
            document.require_paintable()
        except DocumentRefused as error:
            return DocumentSeen(document, sentence_of(error))
        return DocumentSeen(document)

    def _photoshop(self) -> PhotoshopHost:
        if self._host is None:
            self._host_context = self._open_host()
            self._host = self._host_context.__enter__()
        return self._host

    def _close_host(self) -> None:
        if self._host_context is not None:
            self._host_context.__exit__(None, None, None)
        self._host = self._host_context = None

    def _look_at_server(self) -> None:
        try:
            seen = self.server.look(in_use=self._working.is_set())
        finally:
            self._asking.clear()
        self._notify(seen)

    def _quietly(self, call: Callable[[], None]) -> None:
        with suppress(ScumbleError):
            call()

    # On the job's thread; `_apply` on one of its own, so that it does not wait for a generation.
    def _generate(self, settings: Settings) -> None:
        news: PanelEvent = Stopped()
        try:
            entry = self._generated(settings)
            if entry is not None:
                news = Finished(entry)
        except Cancelled:
            pass
        except (PhotoshopError, ScumbleError) as error:
            if not self._cancel.is_set():
                news = Stopped(sentence_of(error))
        finally:
            self._job = None
            self._working.clear()
        self._notify(news)

    def _generated(self, settings: Settings) -> Entry | None:
        """None if the artist cancelled."""
        server = self.server.get()
        prepared = self._host_thread.submit(
            lambda: prepare(self._photoshop(), server, settings)
        ).result()
        self._notify(Sent(prepared))
        if self._cancel.is_set():
            return None
        job = self._job = server.submit(prepared.request)
        if self._cancel.is_set():  # pressed while it was handed in
            self._quietly(job.cancel)
            return None
        self._notify(Sent(prepared, job.id))
        for event in job.watch():
            self._notify(Working(event))
        patches = job.result()
        place = place_of(prepared)
        entry = entry_of(job.id, prepared, place, [patch.seed for patch in patches])
        pictures = [self._thumbnail(patch.pixels) for patch in patches]
        with self._history_lock:
            self._history.add(entry, pictures, place)
        return entry

    def _apply(self, job_id: str, indices: Sequence[int]) -> None:
        with self._history_lock:
            entry = self._history.find(job_id)
            if entry is None or not indices:
                return
            place = self._history.place(entry)
        patches: list[Patch] = self.server.get().job(job_id).result()
        chosen = [patches[index] for index in indices if index < len(patches)]
        placed = self._host_thread.submit(lambda: self._lay(place, chosen)).result()
        self._notify(Applied(tuple(placed), entry.task))

    # On the host's thread.
    def _lay_live(self, live: LivePainting) -> None:
        placed = live.lay(self._photoshop())
        news = Applied(tuple(placed), Task.RESTYLE) if placed else Stopped(_NO_PICTURE)
        self._notify(news)

    def _lay(self, place: Place, patches: Sequence[Patch]) -> list[PlacedLayer]:
        host, document = self._photoshop(), place.document
        try:
            return lay(host, place, patches)
        except DocumentRefused as error:
            if error.code != "document_closed" or document is None:
                raise
            # It may have been opened again, which gives it, and its layers, new ids.
            front = host.describe()
            if (front.name, front.extent) != (document.name, document.extent):
                raise
            return lay(host, replace(place, document=front, above=None), patches)
