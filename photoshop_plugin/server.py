"""What is needed of the server, and what it takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from photoshop_plugin.errors import DocumentRefused
from scumble.client import (
    Bounds,
    CanvasOptions,
    CanvasPlan,
    Event,
    Extent,
    Patch,
    Request,
    ServerInfo,
)


class SubmittedJob(Protocol):
    """What is needed of `scumble.client.Job`."""

    id: str

    def watch(self) -> Iterator[Event]: ...
    def result(self) -> list[Patch]: ...
    def cancel(self) -> None: ...


class TellsLimits(Protocol):
    """A server that says what it allows."""

    def server_info(self) -> ServerInfo: ...


class Server(TellsLimits, Protocol):
    """What is needed of `scumble.client.Client`."""

    def plan(
        self,
        document: Extent,
        selection: Bounds,
        *,
        model: str = ...,
        strength: float = ...,
        options: CanvasOptions = ...,
    ) -> CanvasPlan: ...
    def submit(self, request: Request) -> SubmittedJob: ...


def require_size(bounds: Bounds, server: TellsLimits) -> None:
    """Raises DocumentRefused for more px than the server takes at once, before all of them are read."""
    most = server.server_info().limits.max_pixels
    if most and bounds.width * bounds.height > most:
        raise DocumentRefused(
            "too_large",
            f"{bounds.width} x {bounds.height} px are more than the server takes at once ({most} px). Select a smaller "
            "part, or raise max_pixels in its config.toml.",
        )
