"""Where to repaint: from what the artist marked in Blender to a mask for the wire. Bridge thread only.

A mask is uint8, height x width, row 0 on top, 255 = repaint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import Refused
from .pictures import FloatArray
from .raster import covered, grown, tiles_of

Mask = NDArray[np.uint8]
_FIRST_TILE = 1001
_TILES_ACROSS = 10
_MOST_TILES = 1000


class MaskSource(Protocol):
    """Something that marks pixels."""

    def mask(
        self, width: int, height: int, alpha: NDArray[np.uint8] | None, tile: int, axes: str
    ) -> Mask:
        """The mask for an image of this size. alpha: the image's own, 0..255. tile: its UDIM number, 0 if it has none.
        axes: along which it tiles: none, x, y or xy."""
        ...


@dataclass(frozen=True, slots=True)
class FaceMask:
    """Faces, or parts of them, as UV triangles (n x 3 x 2, v up), and the px to add around them.

    Beyond the unit square an image repeats; with UDIM every unit square is a tile of its own.
    """

    triangles: NDArray[np.float64]
    margin: int = 2

    def tiles(self) -> tuple[int, ...]:
        """UDIM numbers of the tiles they lie in."""
        return tuple(
            _FIRST_TILE + u + _TILES_ACROSS * v
            for u, v in tiles_of(self.triangles)
            if 0 <= u < _TILES_ACROSS and v >= 0
        )

    def mask(
        self, width: int, height: int, alpha: NDArray[np.uint8] | None, tile: int, axes: str
    ) -> Mask:
        """See `MaskSource`."""
        squares = tiles_of(self.triangles)
        if tile:
            wanted = ((tile - _FIRST_TILE) % _TILES_ACROSS, (tile - _FIRST_TILE) // _TILES_ACROSS)
            squares = [square for square in squares if square == wanted]
        elif len(squares) > _MOST_TILES:
            raise Refused(
                f"The selected faces repeat the image more than {_MOST_TILES} times: select fewer, or unwrap them anew."
            )
        size = np.array([width, height], np.float64)
        mask = np.zeros((height, width), bool)
        for square in squares:
            mask |= covered((self.triangles - np.array(square)) * size, width, height)
        wraps = not tile and len(squares) > 0
        mask = grown(mask, self.margin, wraps and "x" in axes, wraps and "y" in axes)
        return np.where(mask[::-1], np.uint8(255), np.uint8(0))


@dataclass(frozen=True, slots=True)
class ImageMask:
    """Another image as the mask: bright is repainted, or dark where `inverted`. Soft values stay soft.

    flat: its `Image.pixels`. It is stretched to the size of the image (nearest pixel).
    """

    flat: FloatArray
    width: int
    height: int
    inverted: bool = False

    def mask(
        self, width: int, height: int, alpha: NDArray[np.uint8] | None, tile: int, axes: str
    ) -> Mask:
        """See `MaskSource`."""
        rows = self.flat.reshape(self.height, self.width, 4)[::-1]
        value = np.clip(rows[..., :3].mean(axis=2), 0, 1)
        # What is not painted at all is not marked, whichever way round.
        value = (1 - value if self.inverted else value) * np.clip(rows[..., 3], 0, 1)
        y = (np.arange(height) * self.height + self.height // 2) // height
        x = (np.arange(width) * self.width + self.width // 2) // width
        stretched = value[np.minimum(y, self.height - 1)][:, np.minimum(x, self.width - 1)]
        mask: Mask = np.rint(stretched * 255).astype(np.uint8)
        return mask


@dataclass(frozen=True, slots=True)
class TiledMask:
    """A mask for each UDIM tile, by number; tiles without one are not marked."""

    masks: Mapping[int, ImageMask]

    def tiles(self) -> tuple[int, ...]:
        """UDIM numbers of the tiles on which something is painted."""
        return tuple(n for n, m in self.masks.items() if m.flat.reshape(-1, 4)[:, :3].any())

    def mask(
        self, width: int, height: int, alpha: NDArray[np.uint8] | None, tile: int, axes: str
    ) -> Mask:
        """See `MaskSource`."""
        one = self.masks.get(tile)
        if one is None:
            return np.zeros((height, width), np.uint8)
        return one.mask(width, height, alpha, tile, axes)


@dataclass(frozen=True, slots=True)
class AlphaMask:
    """What the artist erased: the more transparent a pixel is, the more it is repainted, and it becomes opaque."""

    def mask(
        self, width: int, height: int, alpha: NDArray[np.uint8] | None, tile: int, axes: str
    ) -> Mask:
        """See `MaskSource`."""
        if alpha is None:
            return np.zeros((height, width), np.uint8)
        erased: Mask = np.uint8(255) - alpha
        return erased
