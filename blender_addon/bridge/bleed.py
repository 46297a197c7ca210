"""Carries painted colours into the gutters of a UV map, so that no old colour shows along seams."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .raster import Integers
from .sheets import Sheet, Sheets

_AROUND = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx)


def bleed(
    texels: NDArray[np.floating],
    painted: NDArray[np.bool_],
    gutter: NDArray[np.bool_],
    sheets: Sheets,
    margin: int,
) -> NDArray[np.bool_]:
    """Fills `gutter` texels (count x channels, in place) up to `margin` px from `painted` ones; returns which those
    were. Each ring takes the mean of what is known around it; a sheet that repeats goes on at its other side."""
    known = painted.copy()
    repeats = sheets.squares is None
    for sheet in sheets.sheets:
        part = known[sheet.places]
        open_ = gutter[sheet.places] & ~part
        ring = np.flatnonzero(part)
        for _ in range(margin):
            ring = _beside(ring, sheet, open_, repeats=repeats)
            if not len(ring):
                break
            total = np.zeros((len(ring), texels.shape[1]))
            count = np.zeros(len(ring))
            for dy, dx in _AROUND:
                place, on = _moved(ring, sheet, dy, dx, repeats=repeats)
                on &= part[place]
                total[on] += texels[sheet.start + place[on]]
                count += on
            texels[sheet.start + ring] = total / count[:, None]
            part[ring] = True
            open_[ring] = False
    return known & ~painted


def gutters(
    islands: NDArray[np.bool_], painted: NDArray[np.bool_], sheets: Sheets
) -> NDArray[np.bool_]:
    """Texels on no face, and beside no texel of a face that is not `painted`: what shows there must stay."""
    found = ~islands
    repeats = sheets.squares is None
    for sheet in sheets.sheets:
        part = found[sheet.places]
        kept = np.flatnonzero(~part & ~painted[sheet.places])
        for dy, dx in _AROUND:
            place, on = _moved(kept, sheet, dy, dx, repeats=repeats)
            part[place[on]] = False
    return found


def _beside(ring: Integers, sheet: Sheet, open_: NDArray[np.bool_], *, repeats: bool) -> Integers:
    """The open texels around these."""
    marked = np.zeros(sheet.width * sheet.height, bool)
    for dy, dx in _AROUND:
        place, on = _moved(ring, sheet, dy, dx, repeats=repeats)
        marked[place[on]] = True
    return np.flatnonzero(marked & open_)


def _moved(
    place: Integers, sheet: Sheet, dy: int, dx: int, *, repeats: bool
) -> tuple[Integers, NDArray[np.bool_]]:
    """The neighbours in one direction, and which exist."""
    row, column = place // sheet.width + dy, place % sheet.width + dx
    on = np.ones(len(place), bool)
    if not repeats:
        on = (row >= 0) & (row < sheet.height) & (column >= 0) & (column < sheet.width)
    return row % sheet.height * sheet.width + column % sheet.width, on
