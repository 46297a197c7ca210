"""Paint from the prompt alone; also the base colour of a seamless texture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from core_server.canvas.colour import to_uint8, to_unit
from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import Pixels
from core_server.canvas.plan import SeamlessAxes
from core_server.canvas.resample import model_to_document
from core_server.canvas.seams import as_recipe, seams
from core_server.canvas.sizes import model_extent
from core_server.errors import InvalidRequest
from core_server.pipelines.denoise import as_tensor, denoise
from core_server.pipelines.layout_detail import with_detail
from core_server.pipelines.layout_start import LayoutStart, layout_start
from core_server.pipelines.material_maps import BASE_COLOR, map_outputs, required_maker
from core_server.pipelines.model import FloatArray, LoadedModel
from core_server.pipelines.progress import StepReporter
from core_server.pipelines.prompt import prompt_notes
from core_server.pipelines.recipe import make_recipe
from core_server.pipelines.request import StructureStart, TextToImage, Texture
from core_server.pipelines.settings import Settings
from core_server.pipelines.sizes import TiledSizes, size_note
from core_server.pipelines.task import StepCallback, TaskOutput


def text_to_image(
    model: LoadedModel,
    request: TextToImage | Texture,
    settings: Settings,
    on_step: StepCallback,
) -> list[TaskOutput]:
    """One picture for each seed, uint8 sRGB, of exactly the size asked for; a texture's maps follow its base colour.

    The model paints at the nearest size it can: rounding up to its multiples is cropped away at right and bottom, and
    what is outside its range is resampled; a picture that tiles is always resampled, since a crop would cut its seam.
    """
    maps = [name for name in getattr(request, "maps", ()) if name != BASE_COLOR]
    maker = required_maker(model) if maps else None
    if min(request.extent) < 1:
        raise InvalidRequest(
            "extent",
            f"The size is {request.extent.width} x {request.extent.height} px; each side must be at least 1 px.",
            allowed="1 or more",
        )
    axes = request.parameters.seamless
    sizes = TiledSizes.of(model, axes)
    painted = model_extent(request.extent, sizes)
    # Wildcards may give each picture a prompt of its own.
    layouts = [
        layout_start(model, request.parameters.structure, settings.at(seed))
        for seed in settings.seeds
    ]
    steps = [settings.num_inference_steps if it is None else it.steps for it in layouts]
    reporter = StepReporter(model, on_step, max(steps), len(settings.seeds))
    notes = prompt_notes(model, settings) + size_note(request.extent, painted, sizes.multiple)
    outputs = []
    for seed, layout, steps_run in zip(settings.seeds, layouts, steps, strict=True):
        task, start = _start(layout, painted, seed, axes)
        image = denoise(task, model, settings, seed, axes=axes, reporter=reporter, **start)
        if layout is not None and layout.detail:
            image = with_detail(
                image, start["image"], layout.detail, model, settings.at(seed), axes
            )
        output = finished(
            model, request, settings, seed, image, steps_run, notes,
            {"model_extent": list(painted), **_structure(layout)},
        )  # fmt: skip
        array, recipe = output.pixels.array, output.recipe
        map_name = BASE_COLOR if isinstance(request, Texture) else ""
        outputs.append(replace(output, map_name=map_name))
        if isinstance(request, Texture) and maker is not None:
            outputs += map_outputs(
                maker,
                to_unit(array),
                maps,
                axes=axes,
                height_dtype=request.height_dtype,
                seed=seed,
                recipe=recipe,
                on_step=on_step,
            )
    return outputs


def finished(  # noqa: PLR0917  what a picture is made of
    model: LoadedModel,
    request: TextToImage | Texture,
    settings: Settings,
    seed: int,
    image: FloatArray,
    steps_run: int,
    notes: tuple[str, ...],
    details: Mapping[str, Any],
) -> TaskOutput:
    """A painted picture as it is delivered. image: (height, width, 3) float32 sRGB 0..1 at model size."""
    axes = request.parameters.seamless
    multiple = TiledSizes.of(model, axes).multiple
    array = to_uint8(model_to_document(image, request.extent, multiple, axes))
    recipe = make_recipe(
        model,
        request,
        settings,
        seed,
        steps_run=steps_run,
        notes=notes,
        details={"extent": list(request.extent), **details, **as_recipe(seams(array, axes))},
    )
    return TaskOutput(Pixels(array), seed, recipe)


def _start(
    layout: LayoutStart | None, extent: Extent, seed: int, axes: SeamlessAxes
) -> tuple[str, dict[str, Any]]:
    """The pipeline's task and what only it takes."""
    if layout is None:
        return "text_to_image", {"width": extent.width, "height": extent.height}
    drawn = as_tensor(layout.picture(extent, seed, axes))
    return "image_to_image", {"image": drawn, "strength": layout.strength}


def _structure(layout: LayoutStart | None) -> dict[str, Any]:
    """What the recipe says of where the structure came from."""
    if layout is None:
        return {"structure": StructureStart.NOISE.value}
    return {
        "structure": StructureStart.LAYOUT.value,
        "layout": {
            "family": layout.family,
            "strength": round(layout.strength, 4),
            "detail": layout.detail,
        },
    }
