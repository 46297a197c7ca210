"""The parts of one generation: from the document in front to a request, and from results to layers. Knows no COM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from photoshop_plugin.document import Capture, Document, LayerPatch
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
    Request,
)

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
    def submit(self, request: Request) -> SubmittedJob: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Everything that will be sent, read from the document; nothing has been sent yet."""

    document: Document
    settings: Settings
    plan: CanvasPlan
    capture: Capture
    request: Request


def prepare(host: PhotoshopHost, server: Server, settings: Settings) -> Prepared:
    """Reads the document in front and makes the request. Changes nothing, neither here nor there.

    Raises the trees of `photoshop_plugin.errors` and `scumble.client.errors`.
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
    request = Inpaint(
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
    return Prepared(
        document=document, settings=settings, plan=plan, capture=capture, request=request
    )


def layers(
    document: Document, icc_profile: bytes, prompt: str, patches: Sequence[Patch]
) -> list[LayerPatch]:
    """The layers that patches become in `document`. Raises InternalError for patches without their place."""
    made = []
    for patch in patches:
        if patch.bounds is None or patch.composite_mask is None:
            raise InternalError("The server sent a result without its place in the document.")
        right, bottom = patch.bounds.right, patch.bounds.bottom
        if right > document.extent.width or bottom > document.extent.height:
            raise InternalError("The server sent a result that lies outside the document.")
        made.append(
            LayerPatch(
                layer_name(prompt, patch.seed),
                patch.pixels,
                patch.composite_mask,
                patch.bounds,
                icc_profile,
            )
        )
    return made


def layer_name(prompt: str, seed: int) -> str:
    """A name that says what was asked for, on one line."""
    words = " ".join(prompt.split())
    if len(words) > _NAME_CHARS:
        words = words[: _NAME_CHARS - 1].rstrip() + "…"
    return f"Scumble: {words} ({seed})" if words else f"Scumble ({seed})"
