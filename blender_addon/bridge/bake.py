"""Between a view and a texture: what the view shows of it, and which texels it sees, how well.

Arrays have row 0 at the bottom, as Blender's images do; colours are floats, height x width x channels, or texels x
channels in the order of `Sheets`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .raster import Floats, Integers, fragments, row_spans
from .sheets import Sheets
from .views import Seen, View, fit_planes, look

_FINER = 3
"""Samples of a px in each direction where it shows more than about a texel; odd, so that one lies in its centre."""
_DENSE = 1.25  # texels along a px from which one sample is too few
_MOST_SAMPLES = 16_000_000
_FLAT = 0.05  # share of the distance below which depth is not stretched: a wall shall look flat


@dataclass(frozen=True, slots=True)
class Subject:
    """The scene as triangles. Only triangles of `target` carry the texture; the others can hide them.

    triangles: n x 3 x 3, world. uv: n x 3 x 2, anything where not target. target: n. normals: n x 3 x 3, of the
    corners, world; None takes the triangles' own. Triangles wind counter-clockwise seen from outside.
    """

    triangles: Floats
    uv: Floats
    target: NDArray[np.bool_]
    normals: Floats | None = None

    @property
    def flat_normals(self) -> Floats:
        """n x 3: of the triangles, not of length 1."""
        a, b, c = np.moveaxis(self.triangles, 1, 0)
        return np.cross(b - a, c - a)

    @property
    def target_uv(self) -> Floats:
        """UV triangles of the target."""
        return self.uv[self.target]


@dataclass(frozen=True, slots=True)
class Samples:
    """A view's px as sums of texels: the linear map from a texture to its picture.

    px: which px each of n samples is in, ascending (row * width + column). taps: n x 4 places of texels, shares: n x 4;
    the shares of all samples of a px add up to 1.
    """

    px: Integers
    taps: Integers
    shares: NDArray[np.float32]

    def shown(self, texels: NDArray[np.floating]) -> tuple[Integers, Floats]:
        """Which px show the target at all, ascending, and their colours (m x channels)."""
        if not len(self.px):
            return self.px, np.zeros((0, texels.shape[1]))
        starts = np.flatnonzero(np.r_[True, self.px[1:] != self.px[:-1]])
        values = np.einsum("nt,ntc->nc", self.shares, texels[self.taps], dtype=np.float64)
        return self.px[starts], np.add.reduceat(values, starts, axis=0)


@dataclass(frozen=True, slots=True)
class Look:
    """What a view shows. seen: at `finer` times the view's px. depth: nearness scaled to 0.1..1, 0 where nothing is.
    normals: in camera space, -1..1, (0, 0, 1) where nothing is."""

    view: View
    finer: int
    seen: Seen
    samples: Samples
    depth: Floats
    normals: Floats

    def colors(self, texels: NDArray[np.floating]) -> tuple[Floats, NDArray[np.bool_]]:
        """The texture unlit, each px the mean of its samples; 0.5 and False where nothing of the target is in front."""
        px, values = self.samples.shown(texels)
        size = self.view.height * self.view.width
        colors = np.full((size, texels.shape[1]), 0.5)
        inside = np.zeros(size, bool)
        colors[px], inside[px] = values, True
        shape = (self.view.height, self.view.width)
        return colors.reshape(*shape, -1), inside.reshape(shape)


def look_at(view: View, subject: Subject, sheets: Sheets) -> Look:
    """What is in front at each px, and which texels it shows there."""
    normals = subject.normals
    if normals is None:
        normals = np.repeat(subject.flat_normals[:, None], 3, axis=1)
    finer = _finer(view, subject, sheets)
    fine = view.finer(finer)
    seen = look(fine, subject.triangles, np.concatenate([subject.uv, normals], axis=2))
    depth, shown_normals = geometry(view, seen, finer)
    return Look(
        view, finer, seen, _samples(fine, seen, subject, sheets, finer), depth, shown_normals
    )


def _finer(view: View, subject: Subject, sheets: Sheets) -> int:
    """Several samples a px where the median px of the target shows more than about one texel along a side."""
    corners = view.camera_space(subject.triangles[subject.target])
    before = (-corners[..., 2] >= view.near).all(axis=1)
    if not before.any() or view.width * view.height * _FINER**2 > _MOST_SAMPLES:
        return 1
    px, _, _ = view.screen(corners[before])
    uv = subject.target_uv[before] * sheets.sheets[0].size
    on_screen, on_sheet = _areas(px), _areas(uv)
    turned = on_screen > 0
    if not turned.any():
        return 1
    density = np.abs(on_sheet[turned]) / np.maximum(on_screen[turned], 1e-9)
    order = np.argsort(density)
    weight = np.cumsum(on_screen[turned][order])
    median = density[order][np.searchsorted(weight, weight[-1] / 2)]
    return _FINER if median > _DENSE**2 else 1


def _areas(triangles: Floats) -> Floats:
    """n x 3 x 2 -> n, twice the area; positive counter-clockwise."""
    a, b, c = np.moveaxis(triangles, 1, 0)
    one, two = b - a, c - a
    return np.asarray(one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0], np.float64)


def _samples(fine: View, seen: Seen, subject: Subject, sheets: Sheets, finer: int) -> Samples:
    rows, columns = np.nonzero(seen.front >= 0)
    front = seen.front[rows, columns]
    mine = subject.target[seen.source[front]]
    rows, columns, front = rows[mine], columns[mine], front[mine]
    _, uv = seen.at(front, (columns + 0.5).astype(float), (rows + 0.5).astype(float), count=2)
    taps, shares, found = sheets.taps(uv)
    width = fine.width // finer
    px = (rows // finer * width + columns // finer)[found]
    taps, shares = taps[found], shares[found]
    if finer > 1:
        order = np.argsort(px, kind="stable")
        px, taps, shares = px[order], taps[order], shares[order]
        _, which, count = np.unique(px, return_inverse=True, return_counts=True)
        shares = shares / count[which][:, None].astype(np.float32)
    return Samples(px, taps, shares)


def geometry(view: View, seen: Seen, finer: int) -> tuple[Floats, Floats]:
    """Depth and normals at the centres of the view's px, as of `Look`; two attributes come before the normals."""
    half = finer // 2
    front = seen.front[half::finer, half::finer]
    rows, columns = np.nonzero(front >= 0)
    x, y = columns * finer + half + 0.5, rows * finer + half + 0.5
    nearness, carried = seen.at(front[rows, columns], x.astype(float), y.astype(float))
    depth = np.zeros(front.shape)
    normals = np.zeros((*front.shape, 3))
    normals[..., 2] = 1
    if len(nearness):
        low, high = nearness.min(), nearness.max()
        span = max(high - low, _FLAT * abs(high), 1e-12)
        depth[rows, columns] = 1 - 0.9 * (high - nearness) / span
        world = carried[:, 2:5]
        length = np.maximum(np.linalg.norm(world, axis=1, keepdims=True), 1e-30)
        normals[rows, columns] = (world / length) @ view.to_camera[:3, :3].T
    return depth, normals


@dataclass(frozen=True, slots=True)
class Places:
    """Texels of the target that are turned towards a view: place, world point, cosine to the view, UV."""

    place: Integers
    point: Floats
    facing: Floats
    uv: Floats
    texel: Floats
    """UV units a texel of its sheet has, n x 2."""


def turned_texels(view: View, subject: Subject, sheets: Sheets, least: float) -> Places:
    """Texels whose centre lies on a target triangle with a cosine of more than `least` to the view. A texel that
    several triangles cover comes several times."""
    numbers = np.flatnonzero(subject.target)
    corners, uv = subject.triangles[numbers], subject.uv[numbers]
    normals = subject.flat_normals[numbers]
    found: list[Places] = []
    for square, sheet in sheets.reached(uv):
        planes, sound = fit_planes((uv - np.array(square)) * sheet.size, corners)
        kept = np.flatnonzero(sound)
        spans = row_spans((uv[kept] - np.array(square)) * sheet.size, sheet.width, sheet.height)
        for which, column, row in fragments(spans):
            triangle = kept[which]
            a, b, c = np.moveaxis(planes[triangle], -1, 0)
            points = a * (column + 0.5)[:, None] + b * (row + 0.5)[:, None] + c
            facing = view.facing(points, normals[triangle])
            on = np.flatnonzero(facing > least)
            centre = np.stack([(column + 0.5), (row + 0.5)], axis=1)[on] / sheet.size
            found.append(
                Places(
                    sheet.start + row[on] * sheet.width + column[on],
                    points[on],
                    facing[on],
                    centre + np.array(square),
                    np.broadcast_to(1 / sheet.size, (len(on), 2)),
                )
            )
    if not found:
        return Places(
            np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros(0), np.zeros((0, 2)), np.zeros((0, 2))
        )
    return Places(
        np.concatenate([f.place for f in found]),
        np.concatenate([f.point for f in found]),
        np.concatenate([f.facing for f in found]),
        np.concatenate([f.uv for f in found]),
        np.concatenate([f.texel for f in found]),
    )
