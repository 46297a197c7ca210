"""The size a model works at: sides that are multiples of what it needs, inside the range it can do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from core_server.canvas.geometry import Extent
from core_server.canvas.plan import ModelSizing

MEGAPIXEL = 1_000_000
PIXELS_BY_MEMORY = (
    (6.0, 2 * MEGAPIXEL),
    (12.0, 6 * MEGAPIXEL),
    (24.0, 8 * MEGAPIXEL),
    (math.inf, 16 * MEGAPIXEL),
)
"""(GiB of device memory up to which it holds, most px of one pass)."""
ENLARGED_LEAST = 512
"""Px a side to which the surroundings of a speck are enlarged, for models that paint smaller pictures best."""
SPECK = 0.3
"""Painted at less than this share of the size it should have, a selection is a speck without detail."""
ANY_EXTENT = Extent(2**24, 2**24)


class ModelSizes(Protocol):
    """What the planner needs to know of a model; `pipelines.task.ModelProfile` has it. Unit: model px."""

    @property
    def min_extent(self) -> Extent:
        """Smallest size it paints well."""

    @property
    def max_extent(self) -> Extent:
        """Largest size it paints well."""

    @property
    def multiple(self) -> int:
        """Each side must be a multiple of this."""


def round_up(value: int, multiple: int) -> int:
    """The next multiple, at or above `value`."""
    return -(-value // multiple) * multiple


def model_extent(extent: Extent, sizes: ModelSizes) -> Extent:
    """The model size for a picture of `extent`.

    The picture's own size, rounded up to multiples, if that is inside the model's range; otherwise scaled into the
    range with its proportions kept as far as range and multiples allow.
    """
    return scaled_extent(extent, sizes)[0]


def scaled_extent(
    extent: Extent, sizes: ModelSizes, wanted: float = 1.0, max_pixels: int = 0
) -> tuple[Extent, ModelSizing]:
    """The model size for a picture of `extent` that should be painted `wanted` >= 1 times as large, and why it is that.

    Enlarging stops at the size the model paints best (`best_extent`, else the middle of its range): beyond it models
    repeat themselves. Where that leaves a speck it goes on to ENLARGED_LEAST, and to twice that size at most: what
    surrounds a small selection holds it together. max_pixels: most px that the device can take, 0 = no limit; only the
    lower end of the range goes before it.
    """
    multiple = sizes.multiple
    low = Extent(*(round_up(side, multiple) for side in sizes.min_extent))
    high = Extent(*(max(multiple, side // multiple * multiple) for side in sizes.max_extent))
    # A profile may know the size; a protocol cannot have optional members.
    best: Extent | None = getattr(sizes, "best_extent", None)
    middle = best or tuple((a + b) / 2 for a, b in zip(low, high, strict=True))
    most = min(top / side for side, top in zip(extent, middle, strict=True))
    if best is not None and most < SPECK * wanted:
        larger = (max(side, min(2 * side, ENLARGED_LEAST)) for side in best)
        most = min(top / side for side, top in zip(extent, larger, strict=True))
    fits = min(top / side for side, top in zip(extent, high, strict=True))
    least = max(bottom / side for side, bottom in zip(extent, low, strict=True))
    wanted = max(1.0, min(wanted, most))
    # Too long and too thin at once: proportions cannot be kept, and enlarging the long side would not help.
    scale, sizing = min(max(wanted, least if least <= fits else 1.0), fits), ModelSizing.AS_IS
    if scale != 1.0:
        sizing = ModelSizing.ENLARGED if scale > 1.0 else ModelSizing.REDUCED
    inside = scale == 1.0 and least <= 1.0
    own = Extent(*(round_up(side, multiple) for side in extent))
    model = own if inside else _clamped(extent, scale, multiple, low, high)
    if sizing is ModelSizing.AS_IS and not inside:
        sizing = ModelSizing.ENLARGED
    if max_pixels and model.area > max_pixels:
        scale = min(scale, math.sqrt(max_pixels / extent.area))
        sizing = ModelSizing.CAPPED
        width, height = _clamped(extent, scale, multiple, low, high, down=True)
        # Where one side is at its lower end already the other one makes up for it.
        width = max(low.width, min(width, max_pixels // height // multiple * multiple))
        height = max(low.height, min(height, max_pixels // width // multiple * multiple))
        model = Extent(width, height)
    return model, sizing


def refining_extent(extent: Extent, sizes: ModelSizes, max_pixels: int = 0) -> Extent:
    """The model size of a pass that only refines: the picture's own size, however large; the layout is there already.

    Below the model's range it is enlarged, above `max_pixels` reduced.
    """
    unlimited = _Unlimited(sizes.min_extent, sizes.multiple)
    return scaled_extent(extent, unlimited, max_pixels=max_pixels)[0]


def max_model_pixels(device: str, memory_bytes: int) -> int:
    """Most px that one pass should have: a tier by the device's memory. 0 bytes: unknown, the lowest tier.

    device: such as "cuda:0 (NVIDIA H100)" or "cpu"; on a processor it is time, not memory, that runs out.
    """
    if device.startswith("cpu"):
        return PIXELS_BY_MEMORY[0][1]
    gigabytes = memory_bytes / 2**30
    return next(pixels for limit, pixels in PIXELS_BY_MEMORY if gigabytes <= limit)


def _clamped(
    extent: Extent, scale: float, multiple: int, low: Extent, high: Extent, *, down: bool = False
) -> Extent:
    """`extent` scaled to the nearest multiples, or the next ones below, inside the range."""
    whole = math.floor if down else round
    return Extent(
        *(
            min(max(whole(side * scale / multiple) * multiple, bottom), top)
            for side, bottom, top in zip(extent, low, high, strict=True)
        )
    )


@dataclass(frozen=True, slots=True)
class _Unlimited:
    """A range without an upper end."""

    min_extent: Extent
    multiple: int
    max_extent: Extent = ANY_EXTENT
