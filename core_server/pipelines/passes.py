"""One context painted in one pass, or in two: the whole at the model's size, then the mask's part at full resolution.

The second pass starts from what the first one painted, enlarged: at low strength the model adds detail and keeps the
layout. At strengths below 1 the document's own detail, which the first pass never saw, is added back in proportion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from core_server.canvas.geometry import Bounds, Extent
from core_server.canvas.plan import CanvasPlan, SeamlessAxes
from core_server.canvas.resample import document_to_model, model_to_document
from core_server.canvas.sizes import round_up
from core_server.pipelines.masked_denoising import inpaint_at_model_size
from core_server.pipelines.model import FloatArray, LoadedModel
from core_server.pipelines.progress import Part, StepReporter
from core_server.pipelines.settings import Settings
from core_server.pipelines.strength import enough_steps, steps_run
from core_server.ranges import SEED_MODULUS

_SEED_STRIDE = 0x9E3779B97F4A7C15


def seed_of_part(seed: int, index: int) -> int:
    """The seed of one of the parts that a picture is painted in: the same noise in each would show as a pattern."""
    return (seed + index * _SEED_STRIDE) % SEED_MODULUS


@dataclass(frozen=True, slots=True)
class Pass:
    """One run of the denoiser. bounds: document px; extent: model px; steps: what really runs."""

    stage: str
    bounds: Bounds
    extent: Extent
    multiple: int
    axes: SeamlessAxes
    strength: float
    num_inference_steps: int
    steps: int

    def told(self) -> dict[str, object]:
        """For the recipe."""
        return {
            "bounds": list(self.bounds),
            "model_extent": list(self.extent),
            "strength": self.strength,
            "num_inference_steps": self.num_inference_steps,
            "steps_run": self.steps,
        }


Painter = Callable[[Pass, FloatArray, FloatArray], FloatArray]
"""(pass, picture, mask), both at the pass's model size -> the picture repainted, at the same size."""


def in_multiples(plan: CanvasPlan, multiple: int) -> CanvasPlan:
    """The plan with model sizes that this model can really do: those of tiles have coarser multiples."""
    model = Extent(*(round_up(side, multiple) for side in plan.model))
    refine = plan.refine_model
    if refine is not None:
        refine = Extent(*(round_up(side, multiple) for side in refine))
    return msgspec.structs.replace(plan, model=model, refine_model=refine)


def passes_of(
    plan: CanvasPlan,
    num_inference_steps: int,
    strength: float,
    multiple: int,
    *,
    counts_partial_step: bool = False,
) -> tuple[Pass, ...]:
    """The passes of a plan. multiple: of the model's sides, a coarser one for tiles. counts_partial_step: as in
    `strength.steps_run`.

    A second pass of less than one step takes more, finer steps: it is ours, nobody asked for that number.
    """

    def one(stage: str, bounds: Bounds, extent: Extent, steps: int, strength: float) -> Pass:
        return Pass(
            stage,
            bounds,
            extent,
            multiple,
            plan.wrapped_axes(bounds),
            strength,
            steps,
            steps_run(steps, strength, counts_partial_step=counts_partial_step),
        )

    first = one("Painting", plan.context, plan.model, num_inference_steps, strength)
    if plan.refine is None or plan.refine_model is None:
        return (first,)
    strength = plan.refine_strength
    steps = enough_steps(num_inference_steps, strength, counts_partial_step=counts_partial_step)
    return (first, one("Refining", plan.refine, plan.refine_model, steps, strength))


def parts_of(passes: tuple[Pass, ...]) -> tuple[Part, ...]:
    """What the progress of one picture is made of."""
    return tuple(Part(it.stage, it.steps) for it in passes)


def paint_context(
    image: FloatArray, mask: FloatArray, passes: tuple[Pass, ...], paint: Painter
) -> FloatArray:
    """The context repainted. image: (height, width, 3) float32 sRGB 0..1, filled under the mask; mask: (height, width)
    0..1; both over the first pass's bounds, and so is the result. Beyond the mask the result is not the document."""
    first = passes[0]
    small, small_mask = _at_model(image, first), _at_model(mask, first)
    whole = _at_document(paint(first, small, small_mask), first)
    if len(passes) == 1:
        return whole
    second = passes[1]
    if first.strength < 1:
        whole = whole + (1 - first.strength) * (image - _at_document(small, first))
    inner = second.bounds.moved(-first.bounds.x, -first.bounds.y).slices
    weight = mask[inner]
    start = image[inner] + (whole[inner] - image[inner]) * weight[..., None]
    painted = paint(second, _at_model(start.clip(0, 1), second), _at_model(weight, second))
    whole[inner] = _at_document(painted, second)
    return whole


def unchanged(_: Pass, image: FloatArray, __: FloatArray) -> FloatArray:
    """The painter that paints nothing: shows what resampling alone does."""
    return image


def painter(model: LoadedModel, settings: Settings, seed: int, reporter: StepReporter) -> Painter:
    """The painter that is a model."""

    def paint(the: Pass, image: FloatArray, mask: FloatArray) -> FloatArray:
        return inpaint_at_model_size(
            model,
            replace(settings, num_inference_steps=the.num_inference_steps).seen(the.bounds),
            seed,
            image=image,
            mask=mask,
            strength=the.strength,
            axes=the.axes,
            reporter=reporter,
        )

    return paint


def _at_model(image: FloatArray, the: Pass) -> FloatArray:
    return document_to_model(image, the.extent, the.multiple, the.axes)


def _at_document(image: FloatArray, the: Pass) -> FloatArray:
    return model_to_document(image, the.bounds.extent, the.multiple, the.axes)
