"""One inpaint, from the selection to the layer: describe, plan, capture, submit, watch, apply. Knows no COM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from photoshop_plugin.document import Capture, Document, LayerPatch, PlacedLayer
from photoshop_plugin.errors import PhotoshopError
from photoshop_plugin.host.interface import PhotoshopHost
from scumble.client import (
    Bounds,
    CanvasOptions,
    CanvasPlan,
    Event,
    Extent,
    Inpaint,
    InternalError,
    Patch,
    ScumbleError,
)

HISTORY_TITLE = "Scumble Inpaint"
_NAME_CHARS = 60
"""Longer prompts are cut in layer names; Photoshop itself allows 255 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the artist asks for; None and "" take the model's defaults. Ranges as in `scumble.client.Inpaint`."""

    prompt: str
    negative_prompt: str = ""
    strength: float = 1.0
    model: str = ""
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    scheduler: str = ""
    seed: int | None = None
    count: int = 1
    options: CanvasOptions = field(default_factory=CanvasOptions)


class SubmittedJob(Protocol):
    """What is needed of `scumble.client.Job`."""

    id: str

    def watch(self) -> Iterator[Event]: ...
    def result(self) -> list[Patch]: ...
    def cancel(self) -> None: ...


class Server(Protocol):
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
    def submit(self, request: Inpaint) -> SubmittedJob: ...


@dataclass(frozen=True, slots=True)
class Submitted:
    """The job is on the server's disk. From here on a cancel reaches it."""

    job_id: str
    plan: CanvasPlan


def inpaint(
    host: PhotoshopHost,
    server: Server,
    settings: Settings,
    on_event: Callable[[Submitted | Event], None] = lambda event: None,
) -> list[PlacedLayer]:
    """Repaints the selection of the document in front; returns the layers, the shown one first.

    Whatever ends it early, Ctrl-C included, cancels the job. Raises the trees of `photoshop_plugin.errors` and
    `scumble.client.errors`; the document is then as it was.
    """
    document = host.describe()
    selection = document.require_paintable()
    plan = server.plan(
        document.extent,
        selection,
        model=settings.model,
        strength=settings.strength,
        options=settings.options,
    )
    capture = host.capture(document, plan.context)
    job = server.submit(_request(settings, capture, plan))
    try:
        on_event(Submitted(job.id, plan))
        for event in job.watch():
            on_event(event)
        patches = job.result()
    except BaseException:
        with suppress(ScumbleError):
            job.cancel()
        raise
    try:
        return host.apply(
            document, _layers(document, capture, settings.prompt, patches), HISTORY_TITLE
        )
    except PhotoshopError as error:
        error.add_note(f"The pictures are kept on the server as job {job.id}.")
        raise


def layer_name(prompt: str, seed: int) -> str:
    """A name that says what was asked for, on one line."""
    words = " ".join(prompt.split())
    if len(words) > _NAME_CHARS:
        words = words[: _NAME_CHARS - 1].rstrip() + "…"
    return f"Scumble: {words} ({seed})" if words else f"Scumble ({seed})"


def _request(settings: Settings, capture: Capture, plan: CanvasPlan) -> Inpaint:
    return Inpaint(
        settings.prompt,
        capture.image,
        capture.selection,
        strength=settings.strength,
        plan=plan,
        negative_prompt=settings.negative_prompt,
        model=settings.model,
        num_inference_steps=settings.num_inference_steps,
        guidance_scale=settings.guidance_scale,
        scheduler=settings.scheduler,
        seed=settings.seed,
        count=settings.count,
    )


def _layers(
    document: Document, capture: Capture, prompt: str, patches: list[Patch]
) -> list[LayerPatch]:
    layers = []
    for patch in patches:
        if patch.bounds is None or patch.composite_mask is None:
            raise InternalError("The server sent a result without its place in the document.")
        right, bottom = patch.bounds.right, patch.bounds.bottom
        if right > document.extent.width or bottom > document.extent.height:
            raise InternalError("The server sent a result that lies outside the document.")
        layers.append(
            LayerPatch(
                layer_name(prompt, patch.seed),
                patch.pixels,
                patch.composite_mask,
                patch.bounds,
                capture.icc_profile,
            )
        )
    return layers
