"""Integer rectangles. Origin top-left; left and top inclusive, right and bottom exclusive; unit: pixels.

The space a rectangle lives in (document, context, model) is named by the variable that holds it.
"""

from __future__ import annotations

from typing import NamedTuple


class Extent(NamedTuple):
    """A size, each side at least 1 px."""

    width: int
    height: int

    @property
    def area(self) -> int:
        """Pixels inside."""
        return self.width * self.height


class Bounds(NamedTuple):
    """A rectangle. x and y may be negative only where a context wraps around a seamless texture."""

    x: int
    y: int
    width: int
    height: int

    @property
    def extent(self) -> Extent:
        """Its size."""
        return Extent(self.width, self.height)

    @property
    def right(self) -> int:
        """First column beyond it."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """First row beyond it."""
        return self.y + self.height

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slice, for arrays of shape (height, width, ...)."""
        return slice(self.y, self.bottom), slice(self.x, self.right)

    def contains(self, other: Bounds) -> bool:
        """Whether `other` lies inside."""
        return (
            self.x <= other.x
            and self.y <= other.y
            and self.right >= other.right
            and self.bottom >= other.bottom
        )

    def moved(self, dx: int, dy: int) -> Bounds:
        """The same size elsewhere."""
        return Bounds(self.x + dx, self.y + dy, self.width, self.height)
