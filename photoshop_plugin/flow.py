"""One generation, from the selection to the layer: prepare, submit, watch, apply. Knows no COM."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from photoshop_plugin.document import Document, PlacedLayer
from photoshop_plugin.errors import PhotoshopError
from photoshop_plugin.generation import prepare
from photoshop_plugin.host.interface import PhotoshopHost
from photoshop_plugin.placing import lay, place_of
from photoshop_plugin.server import Server
from photoshop_plugin.settings import Settings
from scumble.client import Bounds, CanvasPlan, Event, ScumbleError


@dataclass(frozen=True, slots=True)
class Submitted:
    """The job is on the server's disk. From here on a cancel reaches it."""

    job_id: str
    bounds: Bounds
    plan: CanvasPlan | None


def generate(
    host: PhotoshopHost,
    server: Server,
    settings: Settings,
    on_event: Callable[[Submitted | Event], None] = lambda event: None,
    document: Document | None = None,
) -> list[PlacedLayer]:
    """Does what `settings` ask for with a document, by default the one in front; returns the layers, the shown one
    first.

    Whatever ends it early, Ctrl-C included, cancels the job. Raises the trees of `photoshop_plugin.errors` and
    `scumble.client.errors`; the document is then as it was.
    """
    prepared = prepare(host, server, settings, document)
    job = server.submit(prepared.request)
    try:
        on_event(Submitted(job.id, prepared.bounds, prepared.plan))
        for event in job.watch():
            on_event(event)
        patches = job.result()
    except BaseException:
        with suppress(ScumbleError):
            job.cancel()
        raise
    try:
        return lay(host, place_of(prepared), patches)
    except PhotoshopError as error:
        error.add_note(f"The pictures are kept on the server as job {job.id}.")
        raise
