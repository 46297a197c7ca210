"""From a view back into the texture: which texels a camera sees, how well, and what it sees there.

Arrays have row 0 at the bottom, as Blender's images do; colours are float64, height x width x channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .raster import Floats, Integers, fragments, row_spans, tiles_of
from .views import Seen, View, fit_planes, look

GRAZING = 0.12
"""Cosine below which a surface is too slanted to be painted from a view (83 degrees)."""
FULL = 0.35
"""Cosine from which it is painted wholly (70 degrees)."""
_NEARNESS_SLACK = 2e-3  # relative: what lies so much in front is another surface


@dataclass(frozen=True, slots=True)
class Subject:
    """The scene as triangles. Only triangles of `target` carry the texture; the others can hide them.

    triangles: n x 3 x 3, world. uv: n x 3 x 2, anything where not target. target: n. Triangles wind counter-clockwise
    seen from outside.
    """

    triangles: Floats
    uv: Floats
    target: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Texels:
    """For each texel a view sees: its place in the texture (row * width + column), its place in the view (px), how much
    it is to be painted (0..1), and the shares of the four px around it (n x 4) with their places (n x 4)."""

    place: Integers
    amount: Floats
    taps: Integers
    shares: Floats

    def sample(self, view_colors: Floats) -> Floats:
        """n x channels: the view's colours at the texels."""
        flat = view_colors.reshape(-1, view_colors.shape[-1])
        return np.asarray((flat[self.taps] * self.shares[..., None]).sum(axis=1), np.float64)


def render(
    view: View, subject: Subject, texture: Floats
) -> tuple[Floats, NDArray[np.bool_], Floats, Seen]:
    """The texture as the view shows it, unlit: colours (0.5 where nothing of the target is in front), where the target
    is in front, its nearness scaled to 0..1 (0 elsewhere), and what was seen."""
    seen = look(view, subject.triangles, subject.uv)
    rows, columns = np.nonzero(seen.front >= 0)
    shown = seen.front[rows, columns]
    mine = subject.target[seen.source[shown]]
    nearness, uv = seen.at(shown, (columns + 0.5).astype(float), (rows + 0.5).astype(float))
    colors = np.full((view.height, view.width, texture.shape[2]), 0.5)
    covered = np.zeros((view.height, view.width), bool)
    depth = np.zeros((view.height, view.width))
    covered[rows[mine], columns[mine]] = True
    colors[rows[mine], columns[mine]] = bilinear(texture, uv[mine])
    if len(nearness):
        low, high = nearness.min(), nearness.max()
        depth[rows, columns] = 0.1 + 0.9 * (nearness - low) / max(high - low, 1e-12)
    return colors, covered, depth, seen


def bilinear(texture: Floats, uv: Floats) -> Floats:
    """Samples a repeating texture at n x 2 coordinates; n x channels."""
    height, width = texture.shape[:2]
    x, y = uv[:, 0] * width - 0.5, uv[:, 1] * height - 0.5
    left, bottom = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    fx, fy = (x - left)[:, None], (y - bottom)[:, None]
    x0, x1, y0, y1 = left % width, (left + 1) % width, bottom % height, (bottom + 1) % height
    low = texture[y0, x0] * (1 - fx) + texture[y0, x1] * fx
    high = texture[y1, x0] * (1 - fx) + texture[y1, x1] * fx
    return np.asarray(low * (1 - fy) + high * fy, np.float64)


def texels_seen(view: View, subject: Subject, seen: Seen, width: int, height: int) -> Texels:
    """Which texels of a width x height texture the view shows."""
    numbers = np.flatnonzero(subject.target)
    corners = subject.triangles[numbers]
    uv = subject.uv[numbers]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    size = np.array([width, height])
    found: list[Texels] = []
    for square in tiles_of(uv) if len(uv) else ():
        px = (uv - np.array(square)) * size
        planes, sound = fit_planes(px, corners)
        kept = np.flatnonzero(sound)
        for which, column, row in fragments(row_spans(px[kept], width, height)):
            triangle = kept[which]
            a, b, c = np.moveaxis(planes[triangle], -1, 0)
            points = a * (column + 0.5)[:, None] + b * (row + 0.5)[:, None] + c
            facing = view.facing(points, normals[triangle])
            turned = np.flatnonzero(facing > GRAZING)
            coordinates = np.stack([(column + 0.5) / width, (row + 0.5) / height], axis=1)
            coordinates += np.array(square)
            taps, shares, ok = _taps(
                view,
                subject,
                seen,
                points=points[turned],
                uv=coordinates[turned],
                facing=facing[turned],
                texel=1 / size,
            )
            amount = np.clip((facing[turned] - GRAZING) / (FULL - GRAZING), 0, 1)
            amount = amount * amount * (3 - 2 * amount)
            place = row[turned] * width + column[turned]
            found.append(Texels(place[ok], amount[ok], taps[ok], shares[ok]))
    return _best(found)


def _taps(
    view: View,
    subject: Subject,
    seen: Seen,
    *,
    points: Floats,
    uv: Floats,
    facing: Floats,
    texel: Floats,
) -> tuple[Integers, Floats, NDArray[np.bool_]]:
    """The four px around each point, and their shares; a px counts only where the very surface of the point is in front
    there: as near, and continuous in UV, so that no colour comes over from other faces, objects or islands."""
    camera = view.camera_space(points)
    before = -camera[:, 2] >= view.near
    camera[~before, 2] = -view.near
    px, nearness, _ = view.screen(camera)
    x, y = px[:, 0], px[:, 1]
    left, bottom = np.floor(x - 0.5).astype(np.int64), np.floor(y - 0.5).astype(np.int64)
    fx, fy = x - 0.5 - left, y - 0.5 - bottom
    scale = np.abs(nearness) if not view.is_orthographic else np.ones_like(nearness)
    # The more slanted the surface, the more its nearness changes within a px.
    slack = _NEARNESS_SLACK * scale / np.maximum(facing, GRAZING)
    taps = np.zeros((len(points), 4), np.int64)
    shares = np.zeros((len(points), 4))
    hidden = np.zeros(len(points), bool)
    corners = (
        (0, 0, (1 - fx) * (1 - fy)),
        (1, 0, fx * (1 - fy)),
        (0, 1, (1 - fx) * fy),
        (1, 1, fx * fy),
    )
    for number, (dx, dy, share) in enumerate(corners):
        column, row = left + dx, bottom + dy
        inside = before & (column >= 0) & (column < view.width) & (row >= 0) & (row < view.height)
        column, row = np.clip(column, 0, view.width - 1), np.clip(row, 0, view.height - 1)
        front = seen.front[row, column]
        inside &= front >= 0
        front = np.maximum(front, 0)
        near, front_uv = seen.at(front, x, y)
        nearest_px = share >= 0.25
        hidden |= (
            inside
            & nearest_px
            & (near > nearness + 3 * slack)
            & ~subject.target[seen.source[front]]
        )
        same = np.abs(near - nearness) <= slack
        same &= (np.abs(front_uv - uv) <= 3 * texel + 1e-3).all(axis=1)
        same &= subject.target[seen.source[front]]
        taps[:, number] = row * view.width + column
        shares[:, number] = np.where(inside & same, share, 0)
    total = shares.sum(axis=1)
    ok = (total > 0.25) & ~hidden
    return taps, shares / np.maximum(total, 1e-12)[:, None], ok


def _best(found: list[Texels]) -> Texels:
    """One entry a texel: the one it is seen best by, where islands of the UV map overlap."""
    if not found:
        return Texels(
            np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 4), np.int64), np.zeros((0, 4))
        )
    place = np.concatenate([f.place for f in found])
    amount = np.concatenate([f.amount for f in found])
    order = np.lexsort((amount, place))
    chosen = order[np.append(place[order][1:] != place[order][:-1], True)[: len(place)]]
    return Texels(
        place[chosen],
        amount[chosen],
        np.concatenate([f.taps for f in found])[chosen],
        np.concatenate([f.shares for f in found])[chosen],
    )


def bleed(
    colors: Floats, painted: NDArray[np.bool_], islands: NDArray[np.bool_], margin: int
) -> NDArray[np.bool_]:
    """Carries the colours of painted texels `margin` px into the gutter, where no face lies, so that no old colour
    shows along seams; in place. Returns the texels it filled."""
    filled = np.zeros_like(painted)
    known = painted.copy()
    height, width = known.shape
    for _ in range(margin):
        total = np.zeros_like(colors)
        count = np.zeros((height, width))
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                here = np.roll(known, (dy, dx), (0, 1))
                if not (dy or dx):
                    continue
                total += np.where(here[..., None], np.roll(colors, (dy, dx), (0, 1)), 0)
                count += here
        new = (count > 0) & ~known & ~islands
        if not new.any():
            break
        colors[new] = total[new] / count[new][:, None]
        known |= new
        filled |= new
    return filled
