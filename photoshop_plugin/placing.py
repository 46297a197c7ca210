"""From results to layers, a new document or a pattern. Knows no COM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from photoshop_plugin.document import (
    NO_SIDES,
    Arrangement,
    Document,
    LayerPatch,
    PlacedLayer,
    Sides,
    Source,
)
from photoshop_plugin.errors import DocumentRefused
from photoshop_plugin.generation import Prepared
from photoshop_plugin.host.interface import PhotoshopHost
from photoshop_plugin.task import TITLES, Task
from scumble.client import Bounds, InternalError, Patch, Pixels

_NAME_CHARS = 60
"""Longer prompts are cut in layer names; Photoshop itself allows 255 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where results go, which outlives the request.

    bounds: of results without a place of their own. mask: for results that bring none; None for no mask. above: id of
    the layer to stand above, None for the top. grow: px added to the canvas.
    """

    task: Task
    document: Document | None
    bounds: Bounds
    icc_profile: bytes
    prompt: str
    mask: Pixels | None = None
    above: int | None = None
    grow: Sides = NO_SIDES


def place_of(prepared: Prepared) -> Place:
    """The place of a request's results."""
    document, capture, settings = prepared.document, prepared.capture, prepared.settings
    selected = document is not None and document.selection is not None
    above = None
    if document is not None and settings.source is not Source.MERGED and document.layer:
        above = document.layer
    return Place(
        task=prepared.task,
        document=document,
        bounds=prepared.bounds,
        icc_profile=capture.icc_profile if capture is not None else b"",
        prompt=settings.prompt,
        mask=capture.selection if selected and capture is not None else None,
        above=above,
        grow=settings.sides if prepared.task is Task.EXTEND else NO_SIDES,
    )


def lay(host: PhotoshopHost, place: Place, patches: Sequence[Patch]) -> list[PlacedLayer]:
    """Brings results into Photoshop: layers, new documents for UPSCALE, patterns for PATTERN, which have no id."""
    if place.task not in (Task.UPSCALE, Task.PATTERN):
        if place.document is None:
            raise DocumentRefused("document_closed")
        arrangement = Arrangement(
            above=place.above, group=_titled(place.prompt, ""), grow=place.grow
        )
        title = f"Scumble: {TITLES[place.task]}"
        return host.apply(place.document, layers(place, patches), title, arrangement)
    made = []
    for patch in patches:
        bounds = Bounds(0, 0, *patch.pixels.extent)
        name = layer_name(place.prompt, patch.seed)
        if place.task is Task.PATTERN:
            host.define_pattern(patch.pixels, name)
        else:
            assert place.document is not None
            stem = place.document.name.rpartition(".")[0] or place.document.name
            name = f"{stem} x{round(bounds.width / place.bounds.width)}"
            host.open_picture(
                patch.pixels, name, place.document.resolution, patch.pixels.icc_profile
            )
        made.append(PlacedLayer(0, name, bounds))
    return made


def layers(place: Place, patches: Sequence[Patch]) -> list[LayerPatch]:
    """The layers that patches become. Raises InternalError for patches that do not fit their place."""
    assert place.document is not None
    extent, grow = place.document.extent, place.grow
    width = grow.left + extent.width + grow.right
    height = grow.top + extent.height + grow.bottom
    made = []
    for patch in patches:
        bounds, mask = patch.bounds or place.bounds, patch.composite_mask
        icc_profile = place.icc_profile
        if patch.bounds is None:
            mask, icc_profile = place.mask, b""  # painted from the prompt alone: plain sRGB
        bounds = Bounds(bounds.x + grow.left, bounds.y + grow.top, *bounds.extent)
        inside = bounds.x >= 0 and bounds.y >= 0
        inside = inside and bounds.right <= width and bounds.bottom <= height
        if not inside or bounds.extent != patch.pixels.extent:
            raise InternalError("The server sent a result that does not fit its place.")
        if patch.bounds is not None and mask is None:
            raise InternalError("The server sent a result without its mask.")
        name = layer_name(place.prompt, patch.seed)
        made.append(LayerPatch(name, patch.pixels, mask, bounds, icc_profile))
    return made


def layer_name(prompt: str, seed: int) -> str:
    """A name that says what was asked for, on one line."""
    return _titled(prompt, f" ({seed})")


def _titled(prompt: str, suffix: str) -> str:
    words = " ".join(prompt.split())
    if len(words) > _NAME_CHARS:
        words = words[: _NAME_CHARS - 1].rstrip() + "…"
    return f"Scumble: {words}{suffix}" if words else f"Scumble{suffix}"
