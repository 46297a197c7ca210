"""The sizes a loaded model can paint, as `canvas.sizes.ModelSizes`, and notes on what did not fit."""

from __future__ import annotations

from dataclasses import dataclass

from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import Pixels
from core_server.canvas.plan import SeamlessAxes
from core_server.pipelines.model import LoadedModel


@dataclass(frozen=True, slots=True)
class TiledSizes:
    """A model's sizes; with a coarser multiple for pictures that tile."""

    min_extent: Extent
    max_extent: Extent
    multiple: int

    @staticmethod
    def of(model: LoadedModel, axes: SeamlessAxes) -> TiledSizes:
        """Sizes for pictures that tile along `axes`."""
        profile = model.profile
        tiles = axes is not SeamlessAxes.NONE
        multiple = model.seamless_multiple if tiles else profile.multiple
        return TiledSizes(profile.min_extent, profile.max_extent, multiple)


def size_note(extent: Extent, painted: Extent, multiple: int) -> tuple[str, ...]:
    """A note for the recipe when the picture was not painted at its own size."""
    if all(0 <= big - side < multiple for side, big in zip(extent, painted, strict=True)):
        return ()
    return (
        f"painted at {painted.width} x {painted.height}, the nearest size this model paints well, and resampled to "
        f"{extent.width} x {extent.height}",
    )


def range_note(pixels: Pixels) -> tuple[str, ...]:
    """A note for the recipe when a float picture holds values that no model has seen."""
    array = pixels.array[..., :3] if pixels.channels == 4 else pixels.array
    if array.dtype.kind != "f" or (array.min() >= 0 and array.max() <= 1):
        return ()
    return (
        "values outside 0..1 were shown to the model as 0 or 1; what it repainted stays inside 0..1",
    )
