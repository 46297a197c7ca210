"""A larger picture with the same content: resampled, then its detail painted tile by tile at low strength."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from core_server.canvas.colour import from_unit, to_unit
from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import Pixels
from core_server.canvas.plan import SeamlessAxes
from core_server.canvas.rendition import Rendition
from core_server.canvas.resample import (
    Filter,
    document_to_model,
    model_to_document,
    resize,
)
from core_server.canvas.seams import as_recipe, seams
from core_server.canvas.sizes import model_extent, round_up
from core_server.canvas.tiling import Blend, read_tile, tiles_of
from core_server.pipelines.denoise import as_tensor, denoise
from core_server.pipelines.model import FloatArray, LoadedModel
from core_server.pipelines.passes import seed_of_part
from core_server.pipelines.progress import Part, StepReporter
from core_server.pipelines.prompt import prompt_notes
from core_server.pipelines.recipe import make_recipe
from core_server.pipelines.request import Upscale
from core_server.pipelines.settings import Settings
from core_server.pipelines.sizes import TiledSizes
from core_server.pipelines.strength import enough_steps, steps_run
from core_server.pipelines.task import StepCallback, TaskOutput
from core_server.ranges import STRENGTH_FROM_ZERO, check_factor

OVERLAP = 0.25
"""Share of a tile's side that it has in common with its neighbour."""


def upscale(
    model: LoadedModel,
    request: Upscale,
    settings: Settings,
    images: Mapping[str, Pixels],
    on_step: StepCallback,
) -> list[TaskOutput]:
    """One picture of `factor` times the size for each seed, in the sample type, channels and colour space of the input.

    Reduced again by averaging it is the input but for what the model's range and rounding take: its colours and shapes
    are the input's, only the detail is the model's. Alpha is resampled. A tile stays a tile.
    Errors: InvalidRequest for another factor than 2 or 4, or a strength outside 0..1.
    """
    check_factor(request.factor, "upscale.factor")
    STRENGTH_FROM_ZERO.check(request.strength, "upscale.strength")
    axes = request.parameters.seamless
    document = images[request.image]
    small = Rendition.of(document)
    extent = Extent(document.extent.width * request.factor, document.extent.height * request.factor)
    plain = np.clip(resize(small.rgb, extent, Filter.LANCZOS, axes), 0, 1)
    large = replace(small, document=_enlarged(document, extent, axes), rgb=plain)
    sizes = TiledSizes.of(model, axes)
    tile = _tile(model, sizes, extent)
    overlap = max(1, round(min(tile) * OVERLAP))
    bounds = tiles_of(extent, tile, overlap, axes) if request.strength > 0 else ()
    # What is added to a picture is ours to choose as long as something runs.
    counts = model.family.counts_partial_step
    steps = settings.num_inference_steps
    if bounds:
        steps = enough_steps(steps, request.strength, counts_partial_step=counts)
    run = steps_run(steps, request.strength, counts_partial_step=counts) if bounds else 0
    parts = [Part(f"Painting tile {i + 1} of {len(bounds)}", run) for i in range(len(bounds))]
    reporter = StepReporter(model, on_step, parts, len(settings.seeds))
    outputs = []
    for seed in settings.seeds:
        painted = plain
        if bounds:
            blend = Blend(extent, overlap, axes)
            for index, place in enumerate(bounds):
                around = axes.covered(place.extent, extent)
                at = model_extent(place.extent, sizes)
                source = document_to_model(read_tile(plain, place), at, sizes.multiple, around)
                image = denoise(
                    "image_to_image",
                    model,
                    replace(settings, num_inference_steps=steps),
                    seed_of_part(seed, index),
                    axes=around,
                    reporter=reporter,
                    image=as_tensor(source),
                    strength=request.strength,
                )
                blend.add(place, model_to_document(image, place.extent, sizes.multiple, around))
            painted = _consistent(blend.result(), small.rgb, axes)
        pixels = large.restore(painted)
        recipe = make_recipe(
            model,
            request,
            settings,
            seed,
            steps_run=run * len(bounds),
            notes=prompt_notes(model, settings) + small.notes(),
            details={
                "image": request.image,
                "factor": request.factor,
                "strength": request.strength,
                "extent": list(extent),
                "model_extent": list(model_extent(tile, sizes)),
                "tiles": [list(place) for place in bounds],
                "overlap": overlap,
                **as_recipe(seams(pixels.array, axes)),
            },
        )
        outputs.append(TaskOutput(pixels, seed, recipe))
    return outputs


def _tile(model: LoadedModel, sizes: TiledSizes, extent: Extent) -> Extent:
    """The size a model paints best, or the picture's own where that is less."""
    best = model.profile.best_extent or Extent(
        *((low + high) // 2 for low, high in zip(sizes.min_extent, sizes.max_extent, strict=True))
    )
    return Extent(
        *(min(round_up(side, sizes.multiple), own) for side, own in zip(best, extent, strict=True))
    )


def _consistent(painted: FloatArray, small: FloatArray, axes: SeamlessAxes) -> FloatArray:
    """`painted` with what it is off by, on average over each of the small picture's px, taken back (one step of
    iterative back-projection: Irani and Peleg, "Improving resolution by image registration", 1991)."""
    height, width = small.shape[:2]
    seen = resize(painted, Extent(width, height), seamless=axes)
    large = Extent(painted.shape[1], painted.shape[0])
    corrected = painted + resize(small - seen, large, Filter.CUBIC, axes)
    return np.asarray(np.clip(corrected, 0, 1), np.float32)


def _enlarged(document: Pixels, extent: Extent, axes: SeamlessAxes) -> Pixels:
    """The document's own samples at the new size: its alpha, and what it has beyond what a model is shown."""
    values = to_unit(document.array)
    if document.channels == 4:
        # Weighed by alpha: what a transparent px happens to hold must not bleed into its neighbours.
        alpha = values[..., 3:]
        shares = resize(alpha, extent, seamless=axes)
        colours = resize(values[..., :3] * alpha, extent, seamless=axes)
        plain = resize(np.ascontiguousarray(values[..., :3]), extent, seamless=axes)
        colours = np.where(shares > 1e-4, colours / np.maximum(shares, 1e-4), plain)
        large = np.concatenate([colours, np.clip(shares, 0, 1)], axis=2)
    else:
        large = resize(values, extent, seamless=axes)
    array = from_unit(np.asarray(large, np.float32), document.array.dtype)
    return Pixels(np.ascontiguousarray(array), document.color_space, document.icc_profile)
