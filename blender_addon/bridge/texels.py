"""Which texels a view sees, and what it sees there: exact visibility, and colours from their own surface only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bake import Look, Places, Subject, turned_texels
from .raster import Floats, Integers
from .sheets import Sheets
from .visibility import AHEAD, hidden

GRAZING = 0.12
"""Cosine below which a surface is too slanted to be painted from a view (83 degrees)."""
FULL = 0.35
"""Cosine from which it is painted wholly (70 degrees)."""
_SLACK = 2e-3  # relative: what lies so much in front is another surface
_APART = 3.0  # px between two views of one texel from which its UV map overlaps
_STEADY = 0.02  # how much of the slope is given up where px lie nearly on a line
_BLOCK = (-1, 0, 1, 2)
_MIDDLE = [5, 6, 9, 10]  # the four next to the texel, in a block


@dataclass(frozen=True, slots=True)
class Texels:
    """For each of n texels a view sees: its place, how much it is to be painted (0..1), and the px of the view that
    show its surface (n x 16) with their shares (n x 16; may be negative, for colours are continued to edges).

    shared: several surfaces show this texel, because the UV map overlaps. guessed: no px shows just this surface (a
    face smaller than a px), so the px beside it stand in.
    """

    place: Integers
    amount: Floats
    taps: Integers
    shares: NDArray[np.float32]
    shared: NDArray[np.bool_]
    guessed: NDArray[np.bool_]

    def sample(self, view_colors: Floats) -> Floats:
        """n x channels: the view's colours at the texels."""
        flat = view_colors.reshape(-1, view_colors.shape[-1])
        found = np.zeros((len(self.place), flat.shape[1]))
        for tap, share in zip(self.taps.T, self.shares.T, strict=True):
            found += flat[tap] * share[:, None]
        return found


def texels_seen(look: Look, subject: Subject, sheets: Sheets) -> Texels:
    """The texels whose centre the view sees with nothing before it, where a px beside it shows the same surface."""
    view = look.view
    places = turned_texels(view, subject, sheets, GRAZING)
    camera = view.camera_space(places.point)
    before = -camera[:, 2] >= view.near
    camera[~before, 2] = -view.near
    px, nearness, _ = view.screen(camera)
    inside: NDArray[np.bool_] = before & (px > -1).all(axis=1)
    inside &= (px[:, 0] < view.width + 1) & (px[:, 1] < view.height + 1)
    places, px, nearness = _only(places, inside), px[inside], nearness[inside]
    block = _look_around(look, subject, places, px, nearness)
    same = np.where(block.same.any(axis=1, keepdims=True), block.same, block.near)
    free = same.any(axis=1)
    free &= (px >= 0).all(axis=1) & (px[:, 0] <= view.width) & (px[:, 1] <= view.height)
    # Where no px around shows anything that would lie before the texel, nothing can be there.
    doubtful = np.flatnonzero(free & block.ahead)
    x, y = (px[doubtful] * look.finer).T
    free[doubtful] = ~hidden(look.seen, x, y, nearness[doubtful])
    places, px, taps, same = _only(places, free), px[free], block.taps[free], same[free]
    guessed: NDArray[np.bool_] = np.logical_not(block.same[free].any(axis=1))
    shares = _shares(px, same)
    amount = np.clip((places.facing - GRAZING) / (FULL - GRAZING), 0, 1)
    amount = amount * amount * (3 - 2 * amount)
    return _best(Texels(places.place, amount, taps, shares, guessed, guessed), px)


def _only(places: Places, kept: Any) -> Places:
    return Places(
        places.place[kept],
        places.point[kept],
        places.facing[kept],
        places.uv[kept],
        places.texel[kept],
    )


@dataclass(frozen=True, slots=True)
class _Block:
    """The 4 x 4 px around each of n texels: where they are (n x 16), which show its surface, as near and continuous in
    UV, so that no colour comes over from other faces, objects or islands (same, n x 16); which show the target as near
    (near, n x 16); and whether any shows something that would lie before the texel (ahead, n)."""

    taps: Integers
    same: NDArray[np.bool_]
    near: NDArray[np.bool_]
    ahead: NDArray[np.bool_]


def _look_around(
    look: Look, subject: Subject, places: Places, px: Floats, nearness: Floats
) -> _Block:
    view, half = look.view, look.finer // 2
    front_of = look.seen.front[half :: look.finer, half :: look.finer]
    left = np.floor(px[:, 0] - 0.5).astype(np.int64)
    bottom = np.floor(px[:, 1] - 0.5).astype(np.int64)
    scale = np.ones_like(nearness) if view.is_orthographic else np.abs(nearness)
    # The more slanted the surface, the more its nearness changes within a px.
    slack = _SLACK * scale / places.facing
    x, y = px[:, 0] * look.finer, px[:, 1] * look.finer
    taps = np.zeros((len(px), 16), np.int64)
    same, as_near = np.zeros((len(px), 16), bool), np.zeros((len(px), 16), bool)
    ahead = np.zeros(len(px), bool)
    for number, (dy, dx) in enumerate((dy, dx) for dy in _BLOCK for dx in _BLOCK):
        column, row = left + dx, bottom + dy
        on = (column >= 0) & (column < view.width) & (row >= 0) & (row < view.height)
        column, row = np.clip(column, 0, view.width - 1), np.clip(row, 0, view.height - 1)
        front = front_of[row, column]
        on &= front >= 0
        front = np.maximum(front, 0)
        near, uv = look.seen.at(front, x, y, count=2)
        ahead |= on & (near > nearness + AHEAD * np.abs(nearness))
        on &= subject.target[look.seen.source[front]] & (np.abs(near - nearness) <= slack)
        taps[:, number] = row * view.width + column
        as_near[:, number] = on
        same[:, number] = on & (np.abs(uv - places.uv) <= 3 * places.texel + 1e-3).all(axis=1)
    return _Block(taps, same, as_near, ahead)


def _shares(px: Floats, same: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Bilinear where the four px around a texel show its surface; elsewhere a plane fitted to those of the 16 that do,
    the nearer the more (moving least squares, Lancaster and Salkauskas 1981), which continues colours to edges."""
    left, bottom = np.floor(px[:, 0] - 0.5), np.floor(px[:, 1] - 0.5)
    fx, fy = px[:, 0] - 0.5 - left, px[:, 1] - 0.5 - bottom
    shares = np.zeros((len(px), 16), np.float32)
    middle = same[:, _MIDDLE].all(axis=1)
    across, up = np.stack([1 - fx, fx], axis=1), np.stack([1 - fy, fy], axis=1)
    bilinear = (up[:, :, None] * across[:, None, :]).reshape(-1, 4)
    shares[np.flatnonzero(middle)[:, None], np.array(_MIDDLE)] = bilinear[middle]

    edge = np.flatnonzero(~middle)
    dx = np.tile(_BLOCK, 4)[None, :] - fx[edge, None]
    dy = np.repeat(_BLOCK, 4)[None, :] - fy[edge, None]
    weight = np.where(same[edge], 1 / (0.05 + dx * dx + dy * dy) ** 2, 0)
    basis = np.stack([np.ones_like(dx), dx, dy], axis=2)
    matrix = np.einsum("ntk,ntl,nt->nkl", basis, basis, weight)
    total = matrix[:, 0, 0]
    matrix[:, 1, 1] += _STEADY * total
    matrix[:, 2, 2] += _STEADY * total
    matrix[total == 0] = np.eye(3)
    at_texel = np.linalg.solve(matrix, np.broadcast_to([[1.0], [0.0], [0.0]], (len(edge), 3, 1)))
    shares[edge] = np.einsum("ntk,nk->nt", basis, at_texel[..., 0]) * weight
    total = shares.sum(axis=1, keepdims=True)
    return np.asarray(shares / np.where(np.abs(total) > 1e-6, total, 1), np.float32)


def _best(found: Texels, px: Floats) -> Texels:
    """One entry a texel: the one it is seen best by, where several triangles cover it."""
    order = np.lexsort((found.amount, ~found.guessed, found.place))
    place = found.place[order]
    last = np.append(place[1:] != place[:-1], True)[: len(place)]
    chosen = order[last]
    apart = np.zeros(len(place), bool)
    twin = np.flatnonzero(~last)
    apart[twin] = (np.abs(px[order[twin]] - px[order[twin + 1]]) > _APART).any(axis=1)
    return Texels(
        found.place[chosen],
        found.amount[chosen],
        found.taps[chosen],
        found.shares[chosen],
        np.isin(found.place[chosen], place[apart]),
        found.guessed[chosen],
    )
