"""The panel's way to the server: found when it is needed, and found again after it was lost. Any thread may call it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from photoshop_plugin.panel.events import ServerSeen, sentence_of
from photoshop_plugin.panel.live import LiveServer
from photoshop_plugin.server import Server, SubmittedJob
from scumble.client import (
    AdapterInfo,
    InvalidRequest,
    Model,
    ScumbleError,
    Style,
    Unimplemented,
    WorkerState,
)


class PanelServer(Server, LiveServer, Protocol):
    """What is needed of `scumble.client.Client`."""

    def models(self) -> Sequence[Model]: ...
    def adapters(self) -> Sequence[AdapterInfo]: ...
    def styles(self) -> Sequence[Style]: ...
    def job(self, job_id: str) -> SubmittedJob: ...
    def close(self) -> None: ...


Connect = Callable[[], PanelServer]


class ServerLink:
    """connect: finds the server and connects to it; raises the tree of `scumble.client.errors`."""

    def __init__(self, connect: Connect) -> None:
        self.connect = connect
        self._server: PanelServer | None = None
        self._lock = threading.Lock()

    def get(self) -> PanelServer:
        """Connected. Raises what `connect` does."""
        with self._lock:
            if self._server is None:
                self._server = self.connect()
            return self._server

    def drop(self, *, in_use: bool = False) -> None:
        """The next `get` connects anew. in_use: a job may still be watched through the present connection."""
        with self._lock:
            server, self._server = self._server, None
        if server is not None and not in_use:
            server.close()

    def look(self, *, in_use: bool) -> ServerSeen:
        """What the server is and has, or why there is none; without its lists while its worker is not ready, which may
        take minutes that nobody shall wait for here. in_use: see `drop`."""
        try:
            server = self.get()
            info = server.server_info()
            if info.worker_state is not WorkerState.READY:
                return ServerSeen(info)
            models, adapters = tuple(server.models()), tuple(server.adapters())
            return ServerSeen(info, models, adapters, _styles(server))
        except ScumbleError as error:
            self.drop(in_use=in_use)
            return ServerSeen(None, trouble=sentence_of(error))


def _styles(server: PanelServer) -> tuple[Style, ...]:
    """None of a server that is too old to tell, or that cannot read its own."""
    try:
        return tuple(server.styles())
    except (InvalidRequest, Unimplemented):
        return ()
