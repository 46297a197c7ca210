"""The pictures a UV map points into: one that repeats, or UDIM tiles side by side.

All texels stand in one flat list, sheet after sheet, row after row, row 0 at the bottom as in Blender's images. A
texel's place is its number in that list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .raster import Floats, Integers, covered, tiles_of

_FIRST_TILE = 1001
_TILES_ACROSS = 10


@dataclass(frozen=True, slots=True)
class Sheet:
    """One picture. start: place of its first texel."""

    width: int
    height: int
    start: int = 0

    @property
    def size(self) -> Floats:
        """Texels a UV unit has in each direction."""
        return np.array([self.width, self.height], np.float64)

    @property
    def places(self) -> slice:
        """Its texels."""
        return slice(self.start, self.start + self.width * self.height)


@dataclass(frozen=True, slots=True)
class Sheets:
    """squares: the unit square (column, row) of each sheet; None where the one sheet repeats in all squares."""

    sheets: tuple[Sheet, ...]
    squares: Mapping[tuple[int, int], int] | None = None

    @staticmethod
    def of(sizes: Mapping[int, tuple[int, int]]) -> Sheets:
        """From widths and heights by UDIM number; the number 0 is a single image that repeats."""
        sheets: list[Sheet] = []
        start = 0
        for width, height in sizes.values():
            sheets.append(Sheet(width, height, start))
            start += width * height
        if 0 in sizes:
            return Sheets(tuple(sheets))
        squares = {
            ((n - _FIRST_TILE) % _TILES_ACROSS, (n - _FIRST_TILE) // _TILES_ACROSS): k
            for k, n in enumerate(sizes)
        }
        return Sheets(tuple(sheets), squares)

    @property
    def count(self) -> int:
        """How many texels there are."""
        last = self.sheets[-1]
        return last.start + last.width * last.height

    def reached(self, uv: Floats) -> Iterator[tuple[tuple[int, int], Sheet]]:
        """The unit squares that triangles (n x 3 x 2) reach into, with the sheet there; those without are left out."""
        for square in tiles_of(uv) if len(uv) else ():
            if self.squares is None:
                yield square, self.sheets[0]
            elif square in self.squares:
                yield square, self.sheets[self.squares[square]]

    def islands(self, uv: Floats) -> NDArray[np.bool_]:
        """count: where any triangle (n x 3 x 2) lies, however little of the texel."""
        found = np.zeros(self.count, bool)
        for square, sheet in self.reached(uv):
            px = (uv - np.array(square)) * sheet.size
            found[sheet.places] |= covered(px, sheet.width, sheet.height).ravel()
        return found

    def taps(self, uv: Floats) -> tuple[Integers, NDArray[np.float32], NDArray[np.bool_]]:
        """The four texels around each of n coordinates (n x 4 places), their shares by bilinear interpolation (n x 4),
        and which coordinates lie on a sheet at all (n); the others have shares of 0.

        A single sheet repeats; a UDIM tile ends at its border, as in Blender.
        """
        places = np.zeros((len(uv), 4), np.int64)
        shares = np.zeros((len(uv), 4), np.float32)
        if self.squares is None:
            self._fill(places, shares, slice(None), uv, self.sheets[0], repeats=True)
            return places, shares, np.ones(len(uv), bool)
        found = np.zeros(len(uv), bool)
        square = np.floor(uv).astype(np.int64)
        for (column, row), number in self.squares.items():
            here = np.flatnonzero((square[:, 0] == column) & (square[:, 1] == row))
            inside = uv[here] - np.array([column, row])
            self._fill(places, shares, here, inside, self.sheets[number], repeats=False)
            found[here] = True
        return places, shares, found

    @staticmethod
    def _fill(
        places: Integers,
        shares: NDArray[np.float32],
        which: Integers | slice,
        uv: Floats,
        sheet: Sheet,
        *,
        repeats: bool,
    ) -> None:
        x, y = uv[:, 0] * sheet.width - 0.5, uv[:, 1] * sheet.height - 0.5
        left, bottom = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
        fx, fy = x - left, y - bottom
        columns, rows = np.stack([left, left + 1]), np.stack([bottom, bottom + 1])
        if repeats:
            columns, rows = columns % sheet.width, rows % sheet.height
        else:
            columns = np.clip(columns, 0, sheet.width - 1)
            rows = np.clip(rows, 0, sheet.height - 1)
        corners = ((0, 0), (1, 0), (0, 1), (1, 1))
        places[which] = np.stack(
            [sheet.start + rows[r] * sheet.width + columns[c] for c, r in corners], axis=1
        )
        shares[which] = np.stack(
            [(fx if c else 1 - fx) * (fy if r else 1 - fy) for c, r in corners], axis=1
        )
