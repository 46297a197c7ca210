"""The size a model works at: sides that are multiples of what it needs, inside the range it can do."""

from __future__ import annotations

from typing import Protocol

from core_server.canvas.geometry import Extent


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
    multiple = sizes.multiple
    low = Extent(*(round_up(side, multiple) for side in sizes.min_extent))
    high = Extent(*(max(multiple, side // multiple * multiple) for side in sizes.max_extent))
    shrink = min(1.0, *(top / side for side, top in zip(extent, high, strict=True)))
    enlarge = max(1.0, *(bottom / side for side, bottom in zip(extent, low, strict=True)))
    if shrink == 1.0 and enlarge == 1.0:
        return Extent(*(round_up(side, multiple) for side in extent))
    # Too long and too thin at once: the upper end wins, for it is a limit of memory.
    scale = shrink if shrink < 1.0 else enlarge
    return Extent(
        *(
            min(max(round(side * scale / multiple) * multiple, bottom), top)
            for side, bottom, top in zip(extent, low, high, strict=True)
        )
    )
