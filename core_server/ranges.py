"""What numbers a request may carry: one table, and one sentence for whatever lies outside. Standard library alone.

The gateway checks with it before a job is stored, the pipelines before a device is touched, and GetServerInfo tells it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from core_server.errors import InvalidRequest

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from low to high, both allowed; low itself is not where `above` is set.

    what: begins the sentence, such as "The strength". unit: such as " px".
    """

    what: str
    low: float
    high: float
    above: bool = False
    unit: str = ""

    def check(self, value: Number, field: str) -> Number:
        """`value`. field: its path in the request. Errors: InvalidRequest; infinite and NaN are outside, too."""
        inside = self.low < value if self.above else self.low <= value
        if inside and value <= self.high:
            return value
        joint = "above {} and at most {}" if self.above else "from {} to {}"
        wanted = joint.format(_told(self.low), _told(self.high) + self.unit)
        raise InvalidRequest(
            field,
            f"{self.what} is {_told(value)}{self.unit}; it must be {wanted}.",
            allowed=wanted,
        )

    def up_to(self, high: float) -> Range:
        """The same with a smaller end: a server may allow less."""
        return dataclasses.replace(self, high=min(self.high, high))

    def called(self, what: str) -> Range:
        """The same under another name."""
        return dataclasses.replace(self, what=what)


def _told(value: float) -> str:
    if value == SEED_MODULUS - 1:
        return "2**64 - 1"
    whole = math.isfinite(value) and value == int(value)
    return str(int(value)) if whole else format(value, "g")


SEED_MODULUS = 2**64

STEPS = Range("The number of denoising steps", 1, 1000)
COUNT = Range("The number of variations", 1, 64)
GUIDANCE = Range("The guidance scale", 0, 50)
GUIDANCE_END = Range("The share of guided steps", 0, 1, above=True)
BLOCK_CACHE = Range("The block cache's threshold", 0, 1)
SEED = Range("The seed", 0, SEED_MODULUS - 1)
STRENGTH = Range("The strength", 0, 1, above=True)
STRENGTH_FROM_ZERO = Range("The strength", 0, 1)
"""Of an enlargement: 0 resamples alone."""
ADAPTERS = Range("The number of adapters", 0, 16)
CONTROL_IMAGES = Range("The number of control images", 0, 8)
REFERENCE_IMAGES = Range("The number of reference images", 0, 8)
ADAPTER_WEIGHT = Range("The adapter's weight", -2, 2)
CONTROL_WEIGHT = Range("The control image's weight", 0, 2)
REFERENCE_WEIGHT = Range("The reference image's weight", 0, 1)
GROW = Range("The grow", 0, 512, unit=" px")
FEATHER = Range("The feather", 0, 512, unit=" px")
PADDING = Range("The padding", 0, 4096, unit=" px")
PASSES = Range("The number of passes", 1, 2)
COLOR_MATCH = Range("The colour match", 0, 1)
SKIP_BELOW = Range("The difference below which a canvas is skipped", 0, 1)
UPSCALE_FACTORS = (2, 4)


def check_factor(factor: int, field: str) -> None:
    """Of an enlargement. Errors: InvalidRequest."""
    if factor not in UPSCALE_FACTORS:
        raise InvalidRequest(field, f"The factor is {factor}; it must be 2 or 4.", allowed="2, 4")


TOLD: Mapping[str, Range] = {
    "parameters.num_inference_steps": STEPS,
    "parameters.guidance_scale": GUIDANCE,
    "parameters.count": COUNT,
    "parameters.guidance_end": GUIDANCE_END,
    "parameters.block_cache": BLOCK_CACHE,
    "parameters.adapters": ADAPTERS,
    "parameters.adapters.weight": ADAPTER_WEIGHT,
    "parameters.control_images": CONTROL_IMAGES,
    "parameters.control_images.weight": CONTROL_WEIGHT,
    "parameters.reference_images": REFERENCE_IMAGES,
    "parameters.reference_images.weight": REFERENCE_WEIGHT,
    "image_to_image.strength": STRENGTH,
    "inpaint.strength": STRENGTH,
    "outpaint.strength": STRENGTH,
    "project.strength": STRENGTH,
    "upscale.strength": STRENGTH_FROM_ZERO,
    "inpaint.options.grow": GROW,
    "inpaint.options.feather": FEATHER,
    "inpaint.options.padding": PADDING,
    "inpaint.options.passes": PASSES,
    "inpaint.options.color_match": COLOR_MATCH,
}
"""By path in `scumble.v1.Generation`: what clients are told. A path of a list means how many there may be."""
