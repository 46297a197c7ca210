"""Paint from the prompt alone; also the base colour of a seamless texture."""

from __future__ import annotations

from core_server.canvas.colour import to_uint8
from core_server.canvas.pixels import Pixels
from core_server.canvas.plan import SeamlessAxes
from core_server.canvas.resample import model_to_document
from core_server.canvas.sizes import model_extent
from core_server.errors import InvalidRequest, NotImplementedHere
from core_server.pipelines.denoise import denoise
from core_server.pipelines.model import LoadedModel
from core_server.pipelines.progress import StepReporter
from core_server.pipelines.prompt import prompt_notes
from core_server.pipelines.recipe import make_recipe
from core_server.pipelines.request import TextToImage, Texture
from core_server.pipelines.seamless import seam_ratios
from core_server.pipelines.settings import Settings
from core_server.pipelines.sizes import TiledSizes, size_note
from core_server.pipelines.task import StepCallback, TaskOutput


def text_to_image(
    model: LoadedModel,
    request: TextToImage | Texture,
    settings: Settings,
    on_step: StepCallback,
) -> list[TaskOutput]:
    """One picture for each seed, uint8 sRGB, of exactly the size asked for.

    The model paints at the nearest size it can: rounding up to its multiples is cropped away at right and bottom, and
    what is outside its range is resampled; a picture that tiles is always resampled, since a crop would cut its seam.
    """
    if isinstance(request, Texture) and set(request.maps) - {"base_color"}:
        raise NotImplementedHere(
            "Material maps are not part of this version; ask for base_color alone."
        )
    if min(request.extent) < 1:
        raise InvalidRequest(
            "extent",
            f"The size is {request.extent.width} x {request.extent.height} px; each side must be at least 1 px.",
            allowed="1 or more",
        )
    axes = request.parameters.seamless
    sizes = TiledSizes.of(model, axes)
    painted = model_extent(request.extent, sizes)
    reporter = StepReporter(model, on_step, settings.num_inference_steps, len(settings.seeds))
    notes = prompt_notes(model, settings) + size_note(request.extent, painted, sizes.multiple)
    outputs = []
    for seed in settings.seeds:
        image = denoise(
            "text_to_image",
            model,
            settings,
            seed,
            axes=axes,
            reporter=reporter,
            width=painted.width,
            height=painted.height,
        )
        image = model_to_document(image, request.extent, sizes.multiple, axes)
        array = to_uint8(image)
        more = {} if axes is SeamlessAxes.NONE else {"seam_ratio": seam_ratios(array)}
        recipe = make_recipe(
            model,
            request,
            settings,
            seed,
            steps_run=settings.num_inference_steps,
            notes=notes,
            details={"extent": list(request.extent), "model_extent": list(painted), **more},
        )
        map_name = "base_color" if isinstance(request, Texture) else ""
        outputs.append(TaskOutput(Pixels(array), seed, recipe, map_name=map_name))
    return outputs
