"""A live frame through a model's stock pipeline, and canvases at another size."""

from __future__ import annotations

import dataclasses

import numpy as np

from core_server.canvas.colour import from_unit, to_unit
from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import Pixels
from core_server.canvas.plan import SeamlessAxes
from core_server.canvas.resample import resize
from core_server.pipelines.denoise import as_tensor, denoise
from core_server.pipelines.model import FloatArray, LoadedModel
from core_server.pipelines.progress import StepReporter
from core_server.pipelines.request import ImageToImage
from core_server.pipelines.settings import Settings
from core_server.pipelines.strength import steps_run
from core_server.pipelines.task import StepCallback


def paint_stock(
    model: LoadedModel,
    request: ImageToImage,
    settings: Settings,
    source: FloatArray,
    on_step: StepCallback,
) -> FloatArray:
    """As many steps of the stock schedule as were asked for, from the first one at or below the strength."""
    parameters, strength = request.parameters, request.strength
    steps, partial = settings.num_inference_steps, model.family.counts_partial_step
    whole = max(steps, int(steps / strength))
    while steps_run(whole, strength, counts_partial_step=partial) < steps:
        whole += 1
    reporter = StepReporter(
        model, on_step, steps_run(whole, strength, counts_partial_step=partial), 1
    )
    return denoise(
        "image_to_image",
        model,
        dataclasses.replace(settings, num_inference_steps=whole),
        parameters.seed,
        axes=parameters.seamless,
        reporter=reporter,
        image=as_tensor(source),
        strength=strength,
    )


def resampled(canvas: Pixels, extent: Extent, axes: SeamlessAxes) -> Pixels:
    """A canvas at another size. Colours under alpha count as much as they are seen."""
    array = to_unit(canvas.array)
    if canvas.channels == 4:
        array = np.concatenate([array[..., :3] * array[..., 3:], array[..., 3:]], axis=2)
    array = resize(array, extent, seamless=axes)
    if canvas.channels == 4:
        alpha = np.clip(array[..., 3:], 0, 1)
        colour = array[..., :3] / np.maximum(alpha, np.float32(1e-4))
        array = np.concatenate([colour, alpha], axis=2)
    if canvas.array.dtype.kind == "u":
        array = np.clip(array, 0, 1)
    samples = np.ascontiguousarray(from_unit(np.asarray(array, np.float32), canvas.array.dtype))
    return Pixels(samples, canvas.color_space, canvas.icc_profile)
