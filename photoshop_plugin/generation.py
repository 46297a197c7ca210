"""From the document in front to a request. Knows no COM."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from photoshop_plugin.document import Capture, Document, Source
from photoshop_plugin.errors import DocumentRefused
from photoshop_plugin.host.interface import PhotoshopHost
from photoshop_plugin.server import Server, require_size
from photoshop_plugin.settings import Settings
from photoshop_plugin.task import TITLES, Task, resolve
from photoshop_plugin.transparency import bounding_box, cut, is_empty, opaque, transparent_part
from scumble.client import (
    Bounds,
    CanvasIntent,
    CanvasPlan,
    Inpaint,
    Outpaint,
    Pixels,
    Request,
    TextToImage,
    Texture,
    Upscale,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Everything that will be sent, read from the document; nothing has been sent yet.

    document, capture: None for a pattern, which needs none. bounds: what was read, and where results without a place of
    their own go. plan: None where nothing is repainted in place.
    """

    document: Document | None
    settings: Settings
    task: Task
    bounds: Bounds
    plan: CanvasPlan | None
    capture: Capture | None
    request: Request

    @property
    def title(self) -> str:
        """Of the history step."""
        return f"Scumble: {TITLES[self.task]}"


def prepare(
    host: PhotoshopHost, server: Server, settings: Settings, document: Document | None = None
) -> Prepared:
    """Reads a document, by default the one in front, and makes the request. Changes nothing, neither here nor there.

    Raises the trees of `photoshop_plugin.errors` and `scumble.client.errors`.
    """
    if settings.task is Task.PATTERN:
        return _pattern(settings)
    document = document or host.describe()
    if document.quick_mask:
        document = host.unmasked(document)
    document.require_paintable()
    task = resolve(settings.task, document, settings.prompt, settings.strength)
    if task not in (Task.FILL, Task.REMOVE):
        require_size(document.selection or document.bounds, server)
    if task is Task.LAYER:
        return _new_layer(host, document, settings)
    if task is Task.UPSCALE:
        return _upscale(host, document, settings)
    if task is Task.EXTEND:
        if any(settings.sides):
            return _grow(host, document, settings)
        return _fill_transparent(host, server, document, settings)
    return _repaint(host, server, document, settings, task)


def _repaint(
    host: PhotoshopHost, server: Server, document: Document, settings: Settings, task: Task
) -> Prepared:
    options = settings.options
    if task is Task.REMOVE:
        settings = replace(settings, strength=min(settings.strength, Inpaint.REMOVE_STRENGTH))
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
    capture = _captured(host, document, plan.context, settings.source)
    if task is Task.FILL:
        capture = replace(capture, image=opaque(capture.image))
    return _inpaint(document, settings, task, plan, capture)


def _inpaint(
    document: Document, settings: Settings, task: Task, plan: CanvasPlan, capture: Capture
) -> Prepared:
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


def _fill_transparent(
    host: PhotoshopHost, server: Server, document: Document, settings: Settings
) -> Prepared:
    """What is transparent, within the selection where there is one. All of it is read once, then cut."""
    whole = _captured(host, document, document.bounds, settings.source, may_be_empty=True)
    mask = transparent_part(whole.image, whole.selection)
    box = bounding_box(mask)
    if box is None:
        raise DocumentRefused("not_transparent")
    plan = server.plan(
        document.extent,
        box,
        model=settings.model,
        strength=settings.strength,
        options=replace(settings.options, intent=CanvasIntent.EXPAND),
    )
    capture = Capture(
        cut(opaque(whole.image), plan.context),
        cut(Pixels.from_numpy(mask, whole.selection.color_space), plan.context),
        whole.icc_profile,
    )
    return _inpaint(document, settings, Task.EXTEND, plan, capture)


def _grow(host: PhotoshopHost, document: Document, settings: Settings) -> Prepared:
    """More canvas, painted on."""
    capture = _captured(host, document, document.bounds, settings.source)
    sides = settings.sides
    request = Outpaint(
        settings.prompt,
        capture.image,
        left=sides.left,
        right=sides.right,
        top=sides.top,
        bottom=sides.bottom,
        strength=settings.strength,
        **_common(settings),
    )
    return _whole(
        request, settings, Task.EXTEND, document.bounds, document=document, capture=capture
    )


def _upscale(host: PhotoshopHost, document: Document, settings: Settings) -> Prepared:
    """The selection's bounding box, or all of the document, larger."""
    bounds = document.selection or document.bounds
    capture = _captured(host, document, bounds, settings.source)
    request = Upscale(
        capture.image,
        factor=settings.factor,
        prompt=settings.prompt,
        strength=settings.strength,
        **_common(settings),
    )
    return _whole(request, settings, Task.UPSCALE, bounds, document=document, capture=capture)


def _new_layer(host: PhotoshopHost, document: Document, settings: Settings) -> Prepared:
    """A picture as large as the selection's bounding box, or as the document."""
    bounds = document.selection or document.bounds
    capture = host.capture(document, bounds)
    request = TextToImage(settings.prompt, bounds.width, bounds.height, **_common(settings))
    return _whole(request, settings, Task.LAYER, bounds, document=document, capture=capture)


def _pattern(settings: Settings) -> Prepared:
    resolve(Task.PATTERN, None, settings.prompt, settings.strength)
    side = settings.pattern_side
    request = Texture(settings.prompt, side, side, **_common(settings))
    return _whole(request, settings, Task.PATTERN, Bounds(0, 0, side, side))


def _whole(
    request: Request,
    settings: Settings,
    task: Task,
    bounds: Bounds,
    *,
    document: Document | None = None,
    capture: Capture | None = None,
) -> Prepared:
    return Prepared(
        document=document,
        settings=settings,
        task=task,
        bounds=bounds,
        plan=None,
        capture=capture,
        request=request,
    )


def _captured(
    host: PhotoshopHost,
    document: Document,
    bounds: Bounds,
    source: Source,
    *,
    may_be_empty: bool = False,
) -> Capture:
    capture = host.capture(document, bounds, source)
    if source is Source.LAYER and not may_be_empty and is_empty(capture.image):
        raise DocumentRefused("empty_layer")
    return capture


def _common(settings: Settings) -> dict[str, Any]:
    names = (
        "negative_prompt",
        "model",
        "num_inference_steps",
        "guidance_scale",
        "scheduler",
        "seed",
        "count",
        "style",
        "adapters",
        "few_step",
        "guidance_end",
        "block_cache",
        "denoiser_precision",
    )
    return {name: getattr(settings, name) for name in names}
