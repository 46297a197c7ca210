"""Repaint a whole picture."""

from __future__ import annotations

from collections.abc import Mapping

from core_server.canvas.pixels import Pixels
from core_server.canvas.rendition import Rendition
from core_server.canvas.resample import document_to_model, model_to_document
from core_server.canvas.seams import as_recipe, seams
from core_server.canvas.sizes import model_extent
from core_server.pipelines.denoise import as_tensor, denoise
from core_server.pipelines.model import LoadedModel
from core_server.pipelines.progress import StepReporter
from core_server.pipelines.prompt import prompt_notes
from core_server.pipelines.recipe import make_recipe
from core_server.pipelines.request import ImageToImage
from core_server.pipelines.settings import Settings
from core_server.pipelines.sizes import TiledSizes, size_note
from core_server.pipelines.strength import require_steps
from core_server.pipelines.task import StepCallback, TaskOutput


def image_to_image(
    model: LoadedModel,
    request: ImageToImage,
    settings: Settings,
    images: Mapping[str, Pixels],
    on_step: StepCallback,
) -> list[TaskOutput]:
    """One picture for each seed, in the size, sample type, channels, colour space and alpha of the input.

    Errors: InvalidRequest when strength leaves less than one step.
    """
    steps = require_steps(
        settings.num_inference_steps,
        request.strength,
        "image_to_image.strength",
        counts_partial_step=model.family.counts_partial_step,
    )
    document = images[request.image]
    axes = request.parameters.seamless
    sizes = TiledSizes.of(model, axes)
    painted = model_extent(document.extent, sizes)
    rendition = Rendition.of(document)
    source = document_to_model(rendition.rgb, painted, sizes.multiple, axes)
    unpainted = model_to_document(source, document.extent, sizes.multiple, axes)
    reporter = StepReporter(model, on_step, steps, len(settings.seeds))
    notes = (
        prompt_notes(model, settings)
        + size_note(document.extent, painted, sizes.multiple)
        + rendition.notes()
    )
    outputs = []
    for seed in settings.seeds:
        image = denoise(
            "image_to_image",
            model,
            settings,
            seed,
            axes=axes,
            reporter=reporter,
            image=as_tensor(source),
            strength=request.strength,
        )
        image = model_to_document(image, document.extent, sizes.multiple, axes)
        pixels = rendition.restore(image, unpainted)
        recipe = make_recipe(
            model,
            request,
            settings,
            seed,
            steps_run=steps,
            notes=notes,
            details={
                "image": request.image,
                "strength": request.strength,
                "extent": list(document.extent),
                "model_extent": list(painted),
                **as_recipe(seams(pixels.array, axes)),
            },
        )
        outputs.append(TaskOutput(pixels, seed, recipe))
    return outputs
