"""The parts of one generation: from the document in front to a request, and from results to layers. Knows no COM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from photoshop_plugin.document import Capture, Document, LayerPatch
from photoshop_plugin.host.interface import PhotoshopHost
from photoshop_plugin.task import TITLES, Task, resolve
from scumble.client import (
    Bounds,
    CanvasIntent,
    CanvasOptions,
    CanvasPlan,
    Event,
    Extent,
    Inpaint,
    InternalError,
    Patch,
    Pixels,
    Request,
    TextToImage,
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
    task: Task = Task.AUTO
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
    """Everything that will be sent, read from the document; nothing has been sent yet.

    bounds: what was read, and where results without a place of their own go. plan: None where nothing is repainted.
    """

    document: Document
    settings: Settings
    task: Task
    bounds: Bounds
    plan: CanvasPlan | None
    capture: Capture
    request: Request

    @property
    def title(self) -> str:
        """Of the history step."""
        return f"Scumble: {TITLES[self.task]}"


def prepare(host: PhotoshopHost, server: Server, settings: Settings) -> Prepared:
    """Reads the document in front and makes the request. Changes nothing, neither here nor there.

    Raises the trees of `photoshop_plugin.errors` and `scumble.client.errors`.
    """
    document = host.describe()
    document.require_paintable()
    task = resolve(settings.task, document, settings.prompt, settings.strength)
    if task is Task.LAYER:
        return _new_layer(host, document, settings)
    options = settings.options
    if task is Task.REMOVE:
        options = replace(options, intent=CanvasIntent.REMOVE_OBJECT)
    elif task is Task.RESTYLE:
        whole = document.selection is None
        options = replace(
            options,
            intent=CanvasIntent.REFINE,
            exact_selection=options.exact_selection or whole,
        )
    plan = server.plan(
        document.extent,
        document.selection or document.bounds,
        model=settings.model,
        strength=settings.strength,
        options=options,
    )
    capture = host.capture(document, plan.context)
    request = Inpaint(
        settings.prompt,
        capture.image,
        capture.selection,
        strength=settings.strength,
        plan=plan,
        **_common(settings),
    )
    return Prepared(
        document=document,
        settings=settings,
        task=task,
        bounds=plan.context,
        plan=plan,
        capture=capture,
        request=request,
    )


def _new_layer(host: PhotoshopHost, document: Document, settings: Settings) -> Prepared:
    """A picture as large as the selection's bounding box, or as the document."""
    bounds = document.selection or document.bounds
    capture = host.capture(document, bounds)
    request = TextToImage(settings.prompt, bounds.width, bounds.height, **_common(settings))
    return Prepared(
        document=document,
        settings=settings,
        task=Task.LAYER,
        bounds=bounds,
        plan=None,
        capture=capture,
        request=request,
    )


def _common(settings: Settings) -> dict[str, Any]:
    names = (
        "negative_prompt",
        "model",
        "num_inference_steps",
        "guidance_scale",
        "scheduler",
        "seed",
        "count",
    )
    return {name: getattr(settings, name) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where results become layers, which outlives the request. mask: for results that bring none; None for no mask."""

    document: Document
    bounds: Bounds
    icc_profile: bytes
    prompt: str
    mask: Pixels | None = None


def place_of(prepared: Prepared) -> Place:
    """The place of a request's results."""
    selected = prepared.document.selection is not None
    return Place(
        document=prepared.document,
        bounds=prepared.bounds,
        icc_profile=prepared.capture.icc_profile,
        prompt=prepared.settings.prompt,
        mask=prepared.capture.selection if selected else None,
    )


def layers(place: Place, patches: Sequence[Patch]) -> list[LayerPatch]:
    """The layers that patches become. Raises InternalError for patches that do not fit their place."""
    made = []
    for patch in patches:
        bounds, mask = patch.bounds or place.bounds, patch.composite_mask
        icc_profile = place.icc_profile
        if patch.bounds is None:
            mask, icc_profile = place.mask, b""  # painted from the prompt alone: plain sRGB
        inside = bounds.right <= place.document.extent.width
        inside = inside and bounds.bottom <= place.document.extent.height
        if not inside or bounds.extent != patch.pixels.extent:
            raise InternalError("The server sent a result that does not fit its place.")
        if patch.bounds is not None and mask is None:
            raise InternalError("The server sent a result without its mask.")
        name = layer_name(place.prompt, patch.seed)
        made.append(LayerPatch(name, patch.pixels, mask, bounds, icc_profile))
    return made


def layer_name(prompt: str, seed: int) -> str:
    """A name that says what was asked for, on one line."""
    words = " ".join(prompt.split())
    if len(words) > _NAME_CHARS:
        words = words[: _NAME_CHARS - 1].rstrip() + "…"
    return f"Scumble: {words} ({seed})" if words else f"Scumble ({seed})"
