"""Starting from a drawn layout: our generator reads the prompt and draws it, the model noises and finishes the drawing.

Structure then comes from the generator, surface from the model: lattices are regular at any size, and only the last
part of the steps runs. Only models whose profile has a `layout_strength` do it: those trained on that generator.
The noising is SDEdit's: Meng et al. (2022), "SDEdit: Guided Image Synthesis and Editing with Stochastic Differential
Equations".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from core_server.canvas.colour import to_unit
from core_server.canvas.geometry import Extent
from core_server.canvas.plan import SeamlessAxes, wraps
from core_server.canvas.resample import resize
from core_server.errors import InvalidRequest
from core_server.pipelines.model import FloatArray, LoadedModel
from core_server.pipelines.request import StructureStart
from core_server.pipelines.settings import Settings
from core_server.pipelines.strength import require_steps, steps_run

_FIELD = "parameters.structure"
_MIN_TILE, _MAX_TILE = 128, 1024
_CALM_PX = 4
_MOST_NOISE = 0.5


@dataclass(frozen=True, slots=True)
class LayoutStart:
    """A prompt that the generator understood. strength: of the noise on its drawing; steps: those that run; detail: the
    share put back of what the autoencoder drops of it."""

    prompt: str
    family: str
    strength: float
    steps: int
    detail: float

    def picture(self, extent: Extent, seed: int, axes: SeamlessAxes) -> FloatArray:
        """The drawing: (height, width, 3) float32 sRGB 0..1, tiling along `axes`. seed: the picture's own."""
        from core_server.training.materials import render_layout  # noqa: PLC0415  as in layout_start

        side = tile_side(extent, axes)
        tile = to_unit(render_layout(self.prompt, size=side, seed=seed).pixels)
        across, down = (
            _repeats(length, side, wraps(axes, axis))
            for length, axis in zip(extent, (1, 0), strict=True)
        )
        picture = np.tile(tile, (down, across, 1))
        fitted = Extent(
            extent.width if wraps(axes, 1) else picture.shape[1],
            extent.height if wraps(axes, 0) else picture.shape[0],
        )
        picture = resize(picture, fitted, seamless=SeamlessAxes.XY)
        picture = np.clip(picture[: extent.height, : extent.width], 0, 1)
        for axis in (0, 1):
            if wraps(axes, axis):
                picture = np.roll(picture, -calm_place(picture, axis), axis)
        return np.ascontiguousarray(picture)


def layout_start(
    model: LoadedModel, structure: StructureStart, settings: Settings
) -> LayoutStart | None:
    """What to start from; None for noise.

    AUTO takes the layout where the model finishes layouts, the prompt names something to draw and at least one step
    would run. Errors: InvalidRequest for LAYOUT where one of these is missing.
    """
    strength = model.profile.layout_strength
    asked = structure is StructureStart.LAYOUT
    if structure is StructureStart.NOISE:
        return None
    if strength is None:
        if asked:
            raise InvalidRequest(
                _FIELD,
                f"The model {model.profile.model_id!r} has no generator to draw a layout with; leave structure out or "
                "use noise.",
                allowed="auto, noise",
            )
        return None
    # Only models that start from layouts pay for the generator.
    from core_server.training.materials import parse_prompt  # noqa: PLC0415

    parsed = parse_prompt(settings.prompt)
    if not parsed.understood:
        if asked:
            raise InvalidRequest(
                _FIELD,
                "The prompt names no material that the generator can draw, such as bricks, planks or leather; name "
                "one, or leave structure out.",
                allowed="auto, noise, or a prompt that names a material",
            )
        return None
    # At least one step runs, if that is not half of the way from noise.
    one_step = (1 + 1e-6) / settings.num_inference_steps
    if strength < one_step <= _MOST_NOISE:
        strength = one_step
    steps = steps_run(settings.num_inference_steps, strength)
    if asked:
        steps = require_steps(settings.num_inference_steps, strength, _FIELD)
    if steps < 1:
        return None
    return LayoutStart(
        settings.prompt, parsed.params.family, strength, steps, model.profile.layout_detail
    )


def tile_side(extent: Extent, axes: SeamlessAxes) -> int:
    """Side of the drawing, px, a power of two: large enough for a picture that does not tile, else near its short side,
    so that whole repeats of it fill both sides with little stretching."""
    fits = axes is SeamlessAxes.NONE
    power = math.ceil(math.log2(max(extent))) if fits else round(math.log2(min(extent)))
    return int(min(max(2**power, _MIN_TILE), _MAX_TILE))


def calm_place(picture: FloatArray, axis: int) -> int:
    """Where along an axis a tile changes least: its border goes there, not along a joint, so that whoever paints near
    the border has whole bricks before them. 0 for an even picture."""
    other = tuple(i for i in range(picture.ndim) if i != axis)
    change = np.abs(picture - np.roll(picture, 1, axis)).mean(other)
    window = min(_CALM_PX, len(change) // 2)
    around = sum(np.roll(change, k) for k in range(-window, window + 1))
    return int(np.argmin(around))


def _repeats(length: int, side: int, wrap: bool) -> int:
    return max(1, round(length / side)) if wrap else math.ceil(length / side)
