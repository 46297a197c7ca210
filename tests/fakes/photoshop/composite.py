"""What is visible of a stack of layers, and its histogram."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.fakes.photoshop.layer import LayerSet
from tests.fakes.photoshop.objects import Fault
from tests.fakes.photoshop.samples import Array, full_scale, on_canvas, over


def painted(result: Array, stack: list[Any]) -> Array:
    """The stack, top first, over `result` (height, width, components + alpha)."""
    height, width = result.shape[:2]
    base = None
    for layer in reversed(stack):
        state = layer._state
        clipped = getattr(state, "clipped", False)
        if not clipped:
            base = None
        if not state.visible:
            continue
        if isinstance(layer, LayerSet):
            inside = painted(result, layer.stack)
            if state.artboard is None:
                result = inside
                continue
            left, top, right, bottom = (max(edge, 0) for edge in state.artboard)
            result = result.copy()
            result[top:bottom, left:right] = inside[top:bottom, left:right]
            continue
        plane = on_canvas(state.pixels, state.x, state.y, height, width)
        coverage = (
            np.full((height, width), full_scale(plane), result.dtype)
            if state.mask is None
            else on_canvas(state.mask, state.mask_x, state.mask_y, height, width)
        )
        if clipped:  # nothing shows above a base that is hidden
            coverage = coverage * (base > 0) if base is not None else np.zeros_like(coverage)
        else:
            base = plane[..., -1]
        result = over(result, plane, coverage)
    return result


def histogram(picture: Array, selected: Array | None, mode: str) -> list[int]:
    """256 counts of the mean of the colour channels, of the selected px where some are."""
    if mode not in ("DocumentMode.RGB", "DocumentMode.CMYK"):
        raise Fault("the histogram is not available in this mode")
    levels = picture[..., :-1].mean(axis=2) / full_scale(picture) * 255
    if selected is not None and selected.any():
        levels = levels[selected > 0]
    counts, _ = np.histogram(levels, bins=256, range=(0, 256))
    return [int(count) for count in counts]
