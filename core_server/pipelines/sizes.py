"""The sizes a loaded model can paint, as `canvas.sizes.ModelSizes`, and notes on what did not fit."""

from __future__ import annotations

from dataclasses import dataclass

import psutil
import torch

from core_server.canvas.geometry import Extent
from core_server.canvas.plan import CanvasPlan, ModelSizing, SeamlessAxes
from core_server.canvas.sizes import max_model_pixels
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


def device_max_pixels(model: LoadedModel) -> int:
    """Most px of one pass on the model's device."""
    device = model.device
    if device.type == "cuda":
        return max_model_pixels(str(device), int(torch.cuda.mem_get_info(device)[1]))
    return max_model_pixels(str(device), int(psutil.virtual_memory().total))


def size_note(extent: Extent, painted: Extent, multiple: int) -> tuple[str, ...]:
    """A note for the recipe when the picture was not painted at its own size."""
    if all(0 <= big - side < multiple for side, big in zip(extent, painted, strict=True)):
        return ()
    return (
        f"painted at {painted.width} x {painted.height}, the nearest size this model paints well, and resampled to "
        f"{extent.width} x {extent.height}",
    )


def plan_notes(plan: CanvasPlan) -> tuple[str, ...]:
    """A note for the recipe when a context was not painted at its own size in one pass."""
    sizing, (width, height), model = plan.sizing, plan.context.extent, plan.model
    if sizing is ModelSizing.AS_IS:
        return ()
    why = {
        ModelSizing.ENLARGED: "enlarged for detail",
        ModelSizing.REDUCED: "reduced to what this model paints well",
        ModelSizing.CAPPED: "reduced to what the device's memory allows",
    }[sizing]
    note = f"painted at {model.width} x {model.height}, {why}, and resampled to {width} x {height}"
    if plan.refine_model is not None:
        refined = plan.refine_model
        note += f"; then the mask refined at {refined.width} x {refined.height}"
    return (note,)
