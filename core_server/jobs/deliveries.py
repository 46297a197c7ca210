"""What a worker's messages bring, as the gateway's values."""

from __future__ import annotations

from multiprocessing.shared_memory import SharedMemory

import msgspec
import numpy as np

from core_server.jobs import messages, segments
from core_server.pipelines.task import StepProgress, TaskOutput


def progress_of(message: messages.Step) -> StepProgress:
    """How far a task is."""
    preview = None
    if message.preview is not None and message.preview_shape is not None:
        preview = np.frombuffer(message.preview, np.uint8).reshape(message.preview_shape)
    return StepProgress(message.step, message.steps, message.stage, preview)


def output_of(segment: SharedMemory, placed: messages.PlacedOutput) -> TaskOutput:
    """One picture, copied out of its segment."""
    mask = placed.composite_mask
    return TaskOutput(
        pixels=segments.unpack(segment, placed.pixels),
        seed=placed.seed,
        recipe=msgspec.json.decode(placed.recipe),
        bounds=placed.bounds,
        composite_mask=None if mask is None else segments.unpack(segment, mask),
        plan=placed.plan,
        map_name=placed.map_name,
    )
