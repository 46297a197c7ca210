"""The canvas of a document: cropped, and resized."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tests.fakes.photoshop.layer import LayerSet
from tests.fakes.photoshop.samples import full_scale, on_canvas

if TYPE_CHECKING:
    from tests.fakes.photoshop.document import Document


def crop(document: Document, left: int, top: int, right: int, bottom: int) -> None:
    """Image > Crop, of documents without groups."""
    height, width = bottom - top, right - left
    for layer in document.stack:
        state = layer._state
        pixels = on_canvas(state.pixels, state.x - left, state.y - top, height, width)
        layer._state = replace(state, pixels=pixels, x=0, y=0)
    for channel in document.alphas:
        samples = on_canvas(channel._state.samples, -left, -top, height, width)
        channel._state = replace(channel._state, samples=samples)
    document.selected = None
    document.extent = (width, height)


def resize(document: Document, w: int, h: int, anchor: str) -> None:
    """Image > Canvas Size. What is new is the background colour (white here) in a Background, nothing in layers, 0 in
    alpha channels and not selected (our reading)."""
    document.require_no_quick_mask()
    old_w, old_h = document.extent
    dx, dy = {"TOPLEFT": (0, 0), "BOTTOMRIGHT": (w - old_w, h - old_h)}[anchor]
    for layer in document.every_layer():
        if isinstance(layer, LayerSet):
            if layer._state.artboard is not None:
                left, top, right, bottom = layer._state.artboard
                moved = (left + dx, top + dy, right + dx, bottom + dy)
                layer._state = replace(layer._state, artboard=moved)
            continue
        state = layer._state
        if state.background:
            pixels = np.full((h, w, state.pixels.shape[2]), full_scale(state.pixels))
            pixels = pixels.astype(state.pixels.dtype)
            pixels[dy : dy + old_h, dx : dx + old_w] = state.pixels
            layer._state = replace(state, pixels=pixels)
        else:
            layer._state = replace(
                state,
                x=state.x + dx,
                y=state.y + dy,
                mask_x=state.mask_x + dx,
                mask_y=state.mask_y + dy,
            )
    for channel in document.alphas:
        samples = on_canvas(channel._state.samples, dx, dy, h, w)
        channel._state = replace(channel._state, samples=samples)
    if document.selected is not None:
        document.selected = on_canvas(document.selected, dx, dy, h, w)
    document.extent = (w, h)
