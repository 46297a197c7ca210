"""Repaint the selected part of a picture."""

from __future__ import annotations

from collections.abc import Mapping

from core_server.canvas.pixels import Pixels
from core_server.canvas.seams import as_recipe, border_seams
from core_server.pipelines.inpaint_canvas import prepare
from core_server.pipelines.model import LoadedModel
from core_server.pipelines.passes import paint_context, painter, parts_of, passes_of, unchanged
from core_server.pipelines.progress import StepReporter
from core_server.pipelines.prompt import prompt_notes
from core_server.pipelines.recipe import make_recipe
from core_server.pipelines.request import Inpaint
from core_server.pipelines.settings import Settings
from core_server.pipelines.sizes import plan_notes
from core_server.pipelines.strength import require_steps
from core_server.pipelines.task import StepCallback, TaskOutput


def inpaint(
    model: LoadedModel,
    request: Inpaint,
    settings: Settings,
    images: Mapping[str, Pixels],
    on_step: StepCallback,
) -> list[TaskOutput]:
    """One patch for each seed: the pixels of `plan.mask` in the document's sample type, colour space and alpha, with
    the composite mask that pastes them. Where that mask is 0 the patch holds the document's own pixels, unchanged.

    Errors: InvalidRequest for an empty or wrongly sized selection, a plan that does not fit, or less than one step.
    """
    counts = model.family.counts_partial_step
    require_steps(
        settings.num_inference_steps,
        request.strength,
        "inpaint.strength",
        counts_partial_step=counts,
    )
    canvas = prepare(model, request, settings, images)
    plan = canvas.plan
    settings = settings.over(plan)
    passes = passes_of(
        plan,
        settings.num_inference_steps,
        request.strength,
        canvas.multiple,
        counts_partial_step=counts,
    )
    reporter = StepReporter(model, on_step, parts_of(passes), len(settings.seeds))
    notes = prompt_notes(model, settings) + plan_notes(plan) + canvas.context.notes()
    unpainted = paint_context(canvas.image, canvas.mask, passes, unchanged)
    outputs = []
    for seed in settings.seeds:
        paint = painter(model, settings, seed, reporter)
        image = paint_context(canvas.image, canvas.mask, passes, paint)
        pixels, match = canvas.patch(image, unpainted)
        recipe = make_recipe(
            model,
            request,
            settings,
            seed,
            steps_run=sum(it.steps for it in passes),
            notes=notes,
            plan=plan,
            details={
                "image": request.image,
                "selection": request.selection,
                "strength": request.strength,
                "extent": list(plan.mask.extent),
                "model_extent": list(plan.model),
                "passes": [it.told() for it in passes],
                "color_match": match.recipe(),
                **as_recipe(border_seams(canvas.pasted(pixels), plan)),
            },
        )
        outputs.append(
            TaskOutput(
                pixels,
                seed,
                recipe,
                bounds=plan.mask,
                composite_mask=canvas.composite_mask,
                plan=plan,
            )
        )
    return outputs
