"""What a worker's messages bring, as the gateway's values."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from core_server.canvas.pixels import Pixels
from core_server.jobs import messages
from core_server.pipelines.task import StepProgress, TaskOutput


def progress_of(message: messages.Step) -> StepProgress:
    """How far a task is."""
    preview = None
    if message.preview is not None and message.preview_shape is not None:
        preview = np.frombuffer(message.preview, np.uint8).reshape(message.preview_shape)
    return StepProgress(message.step, message.steps, message.stage, preview)


def output_of(
    placed: messages.PlacedOutput, pixels_of: Callable[[messages.PlacedPixels], Pixels]
) -> TaskOutput:
    """One picture. pixels_of: lends, or copies, what lies in the segment."""
    mask = placed.composite_mask
    return TaskOutput(
        pixels=pixels_of(placed.pixels),
        seed=placed.seed,
        recipe=msgspec.json.decode(placed.recipe),
        bounds=placed.bounds,
        composite_mask=None if mask is None else pixels_of(mask),
        plan=placed.plan,
        map_name=placed.map_name,
    )
