"""At most one generation at a time, on daemon threads; the main thread only queues wishes and takes events."""

from __future__ import annotations

import logging
import queue
import threading
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import events
from .errors import BridgeError, Busy, Retired
from .pictures import thumbnail_from_wire
from .request import Server, Work

if TYPE_CHECKING:
    from scumble.client import Client, Job, Patch, Request
    from scumble.client import Event as JobEvent

log = logging.getLogger(__name__)

_LAST_SECONDS = 0.5  # for a thread to notice that its connection is gone

Connector = Callable[[Server], "Client"]
"""Connects, or raises a `ScumbleError`. Called on a bridge thread."""


class Session:
    """The bridge's front. Every method returns at once; results arrive through `pump`.

    Cancelling takes effect for the artist immediately: the ticket is retired here, and a thread tells the server.
    """

    def __init__(self, connect: Connector) -> None:
        self._connector = connect
        self._clients: weakref.WeakSet[Client] = weakref.WeakSet()
        self._events: queue.SimpleQueue[events.Event] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._tickets = 0
        self._current: _Generation | None = None
        self._checking = False
        self._threads: set[threading.Thread] = set()

    @property
    def busy(self) -> bool:
        """Whether a generation is under way, its final event not yet pumped included."""
        return self._current is not None

    @property
    def checking(self) -> bool:
        """Whether the server was asked who it is and its answer has not been pumped yet."""
        return self._checking

    def generate(self, server: Server, work: Work) -> int:
        """Starts a generation and returns its ticket. Raises Busy."""
        if self._current is not None:
            raise Busy("Scumble is already painting: wait for it or cancel it first.")
        self._tickets += 1
        generation = self._current = _Generation(self._tickets, server, work)
        self._spawn("scumble-generate", lambda: generation.run(self._connect, self._events.put))
        return generation.ticket

    def cancel(self) -> None:
        """Ends the running generation, if there is one; its last event is `Cancelled`."""
        generation = self._current
        if generation is None or generation.retired:
            return
        generation.retired = True
        self._events.put(events.Cancelled(generation.ticket))
        self._spawn("scumble-cancel", generation.cancel)

    def check(self, server: Server) -> None:
        """Asks the server who it is; answers with `ServerChecked`. A second wish while one is open is dropped."""
        if not self._checking:
            self._checking = True
            self._spawn("scumble-check", lambda: self._check(server))

    def free(self, server: Server) -> None:
        """Gives the memory of the server's models back; whatever hinders that is only logged."""
        self._spawn("scumble-free", lambda: self._free(server))

    def pump(self) -> list[events.Event]:
        """The events since the last call, without those of retired tickets. Main thread; never waits."""
        taken: list[events.Event] = []
        while True:
            try:
                event = self._events.get_nowait()
            except queue.Empty:
                return taken
            if isinstance(event, events.ServerChecked):
                self._checking = False
                taken.append(event)
                continue
            generation = self._current
            if generation is None or event.ticket != generation.ticket:
                continue
            if generation.retired and not isinstance(event, events.Cancelled):
                continue
            taken.append(event)
            if isinstance(event, events.FINAL):
                self._current = None

    def close(self, seconds: float = 2.0) -> None:
        """Cancels what runs and waits so long, at most, for the server to hear of it; then lets go of every connection,
        which ends whoever still waits for a server that is gone. The session is over."""
        self.cancel()
        self._current = None
        deadline = time.monotonic() + seconds
        for thread in list(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))
        for client in list(self._clients):
            client.close()
        for thread in list(self._threads):
            thread.join(_LAST_SECONDS)

    def _connect(self, server: Server) -> Client:
        client = self._connector(server)
        self._clients.add(client)
        return client

    def _spawn(self, name: str, target: Callable[[], None]) -> None:
        def run() -> None:
            try:
                target()
            finally:
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, name=name, daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def _free(self, server: Server) -> None:
        try:
            with self._connect(server) as client:
                for model in client.models():  # one that is not loaded has nothing to give
                    client.unload_model(model.model_id)
        except Exception as error:  # noqa: BLE001 - a render must not hear of it
            log.info("The server's memory was not freed: %s", explain(error))

    def _check(self, server: Server) -> None:
        try:
            with self._connect(server) as client:
                info = client.server_info()
                ready = info.worker_state == "ready"
                catalogue = _catalogue(client, info.default_model) if ready else None
            told = info.worker_message or f"the worker is {info.worker_state}"
            text = f"on {info.device}, model {info.default_model}" if ready else told
            memory = events.Memory(
                info.device_memory_bytes, info.device_free_bytes, *info.recommended_extent
            )
            event = events.ServerChecked(
                True, f"Scumble {info.version}: {text}", ready, catalogue, memory if ready else None
            )
        except Exception as error:  # noqa: BLE001 - the panel shows every reason
            event = events.ServerChecked(False, explain(error))
        self._events.put(event)


class _Generation:
    """One ticket's life on its thread."""

    def __init__(self, ticket: int, server: Server, work: Work) -> None:
        self.ticket = ticket
        self.retired = False
        """The artist cancelled it; set by the main thread."""
        self._server = server
        self._work = work
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._job: Job | None = None

    def run(self, connect: Connector, put: Callable[[events.Event], None]) -> None:
        """From connecting to the encoded pictures. Always puts one final event, unless it was cancelled."""
        try:
            put(events.Progressed(self.ticket, 0.0, "Connecting", None))
            with connect(self._server) as client:

                def ask(request: Request, part: int = 0, parts: int = 1) -> list[Patch]:
                    return self._ask(client, request, put, share=(part, parts))

                pictures = self._work.paint(client, ask)
            put(events.Painted(self.ticket, pictures, pictures[0].thumbnail))
        except Exception as error:  # noqa: BLE001 - every reason reaches the artist
            if not self.retired:
                cancelled = getattr(error, "reason", "") == "CANCELLED"
                put(
                    events.Cancelled(self.ticket)
                    if cancelled
                    else events.Failed(
                        self.ticket, explain(error), str(getattr(error, "reason", ""))
                    )
                )

    def _ask(
        self,
        client: Client,
        request: Request,
        put: Callable[[events.Event], None],
        share: tuple[int, int],
    ) -> list[Patch]:
        """One job, from handing it in to its pictures. Raises Retired where the artist cancelled it."""
        if self.retired:
            raise Retired
        job = client.submit(request)
        with self._lock:
            self._client, self._job = client, job
        try:
            for event in () if self.retired else job.watch():
                if self.retired:
                    break
                self._tell(event, put, share)
            if self.retired:
                # Also told by `cancel`, but leaving closes the connection, perhaps under its feet.
                job.cancel()
                raise Retired
            patches = job.result()
        finally:
            with self._lock:
                self._client = self._job = None
        put(events.Progressed(self.ticket, (share[0] + 1) / share[1], "Encoding", None))
        return patches

    def cancel(self) -> None:
        """Tells the server, then lets go of the connection, which ends a waiting `watch`. Its own thread."""
        with self._lock:
            client, job = self._client, self._job
        if client is None or job is None:
            return
        try:
            job.cancel()
        except Exception as error:  # noqa: BLE001 - the artist is free already; the server may be gone
            log.info("The server was not told of the cancellation: %s", explain(error))
        client.close()

    def _tell(
        self, event: JobEvent, put: Callable[[events.Event], None], share: tuple[int, int]
    ) -> None:
        part, parts = share
        if event.preview is not None:
            thumbnail = thumbnail_from_wire(event.preview.numpy())
            put(events.Previewed(self.ticket, thumbnail))
        elif event.progress is not None:
            now = event.progress
            fraction = (part + now.fraction) / parts
            # What the server foretells is the end of this part.
            left = now.remaining_seconds if part + 1 == parts else None
            put(events.Progressed(self.ticket, fraction, now.stage, left))
        elif event.state == "queued":
            put(events.Queued(self.ticket, event.queue_position or 0))


def _catalogue(client: Client, default_model: str) -> events.Catalogue:
    from scumble.client import Unimplemented

    models = client.models()
    try:
        styles = tuple(style.name for style in client.styles())
    except Unimplemented:  # a server older than the list
        styles = ()
    return events.Catalogue(
        models=tuple((model.model_id, model.title) for model in models),
        default_model=default_model,
        sizes=tuple((m.model_id, *m.best_extent) for m in models if m.best_extent is not None),
        loras=tuple(it.name for it in client.adapters() if it.kind == "lora"),
        styles=styles,
        schedulers=tuple(scheduler.name for scheduler in client.schedulers()),
    )


def explain(error: BaseException) -> str:
    """One sentence for people. Errors of the client's tree and of the bridge say it themselves."""
    if getattr(error, "reason", "") or isinstance(error, BridgeError):
        return str(error)
    log.error("Unexpected error in the bridge", exc_info=error)
    return f"Something unexpected happened ({type(error).__name__}: {error}); the console has more."
