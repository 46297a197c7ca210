"""What a camera sees of triangles: which one is in front at each pixel, and what it carries there.

Plain numpy in double precision, so that it needs no graphics card and runs beside Blender's main thread. World units
are Blender's; the camera looks along -z; px have y up and row 0 at the bottom, as Blender's images do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .raster import Floats, Integers, fragments, row_spans

_EMPTY = -1


@dataclass(frozen=True, slots=True)
class View:
    """A camera. to_camera and projection: 4 x 4, as of Blender's `matrix_world.inverted()` and `calc_matrix_camera`."""

    to_camera: Floats
    projection: Floats
    width: int
    height: int
    near: float = 0.01

    def finer(self, times: int) -> View:
        """The same view with so many px for each one, in both directions."""
        return replace(self, width=self.width * times, height=self.height * times)

    @property
    def is_orthographic(self) -> bool:
        """Without perspective."""
        return bool(self.projection[3, 3] == 1)

    @property
    def position(self) -> Floats:
        """Of the camera, in the world."""
        return np.asarray(np.linalg.inv(self.to_camera)[:3, 3], np.float64)

    def facing(self, points: Floats, normals: Floats) -> Floats:
        """Cosine between the surface normals and the direction to the camera."""
        if self.is_orthographic:
            towards = np.broadcast_to(np.linalg.inv(self.to_camera)[:3, 2], points.shape)
        else:
            towards = self.position - points
        length = np.linalg.norm(towards, axis=-1) * np.linalg.norm(normals, axis=-1)
        return np.asarray((towards * normals).sum(axis=-1) / np.maximum(length, 1e-30), np.float64)

    def camera_space(self, points: Floats) -> Floats:
        """... x 3 world -> camera."""
        return np.asarray(points @ self.to_camera[:3, :3].T + self.to_camera[:3, 3], np.float64)

    def screen(self, camera: Floats) -> tuple[Floats, Floats, Floats]:
        """Of points in camera space: px (... x 2); nearness, which grows towards the camera and is linear on the
        screen; and the weight by which an attribute must be multiplied to be linear on the screen."""
        clip = camera @ self.projection[:, :3].T + self.projection[:, 3]
        w = clip[..., 3]
        px = (clip[..., :2] / w[..., None] * 0.5 + 0.5) * np.array([self.width, self.height])
        if self.is_orthographic:
            return px, camera[..., 2], np.ones_like(w)
        return px, 1 / w, 1 / w


@dataclass(frozen=True, slots=True)
class Seen:
    """What is in front at each pixel of a view.

    front: height x width, number of a clipped triangle, -1 for none. source: number of the scene's triangle it was cut
    from. planes: clipped triangles x (2 + k) x 3, coefficients (a, b, c) of a x + b y + c for nearness, weight, and
    each attribute times weight. corners: clipped triangles x 3 x 2, px.
    """

    front: Integers
    source: Integers
    planes: Floats
    corners: Floats

    def at(
        self, triangle: Integers, x: Floats, y: Floats, count: int | None = None
    ) -> tuple[Floats, Floats]:
        """Nearness (n) and the first `count` attributes (n x k) of triangles' planes at px positions."""
        planes = self.planes if count is None else self.planes[:, : 2 + count]
        a, b, c = np.moveaxis(planes[triangle], -1, 0)
        values = a * x[:, None] + b * y[:, None] + c
        return values[:, 0], values[:, 2:] / values[:, 1:2]


def look(view: View, triangles: Floats, attributes: Floats) -> Seen:
    """triangles: n x 3 x 3, world. attributes: n x 3 x k, one of each corner."""
    camera, carried, source = _clipped(view.camera_space(triangles), attributes, view.near)
    px, nearness, weight = view.screen(camera)
    values = np.concatenate(
        [nearness[..., None], weight[..., None], carried * weight[..., None]], axis=2
    )
    planes, sound = fit_planes(px, values)
    numbers = np.flatnonzero(sound)
    size = view.width * view.height
    front = np.full(size, _EMPTY, np.int64)
    nearest = np.full(size, -np.inf)
    for which, column, row in fragments(row_spans(px[numbers], view.width, view.height)):
        triangle = numbers[which]
        a, b, c = planes[triangle, 0].T
        depth = a * (column + 0.5) + b * (row + 0.5) + c
        place = row * view.width + column
        order = np.lexsort((depth, place))
        last = np.append(place[order][1:] != place[order][:-1], True)
        chosen = order[last]
        chosen = chosen[depth[chosen] > nearest[place[chosen]]]
        front[place[chosen]] = triangle[chosen]
        nearest[place[chosen]] = depth[chosen]
    return Seen(front.reshape(view.height, view.width), source, planes, px)


def fit_planes(points: Floats, values: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Of triangles (n x 3 x 2) with k values at each corner (n x 3 x k): the planes through them (n x k x 3), and which
    triangles are sound; the others have no area."""
    origin = points[:, 0]
    first, second = points[:, 1] - origin, points[:, 2] - origin
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    sound = np.abs(area) > 1e-9
    inverse = 1 / np.where(sound, area, 1)
    rise_one, rise_two = values[:, 1] - values[:, 0], values[:, 2] - values[:, 0]
    a = (rise_one * second[:, 1:2] - rise_two * first[:, 1:2]) * inverse[:, None]
    b = (rise_two * first[:, 0:1] - rise_one * second[:, 0:1]) * inverse[:, None]
    c = values[:, 0] - a * origin[:, 0:1] - b * origin[:, 1:2]
    return np.stack([a, b, c], axis=2), sound


def _clipped(camera: Floats, attributes: Floats, near: float) -> tuple[Floats, Floats, Integers]:
    """The parts of triangles before the near plane, with attributes, and which triangle each is a part of."""
    corners = np.concatenate([camera, attributes], axis=2)
    inside = -camera[..., 2] >= near
    count = inside.sum(axis=1)
    whole = np.flatnonzero(count == 3)
    parts, sources = [corners[whole]], [whole]
    for wanted in (1, 2):
        cut = np.flatnonzero(count == wanted)
        if not len(cut):
            continue
        # The odd corner first: the one inside, or the one outside.
        odd = np.argmax(inside[cut] if wanted == 1 else ~inside[cut], axis=1)
        turned = (odd[:, None] + np.arange(3)) % 3
        a, b, c = np.moveaxis(corners[cut[:, None], turned], 1, 0)
        ab, ac = _crossing(a, b, near), _crossing(a, c, near)
        if wanted == 1:
            new = [np.stack([a, ab, ac], axis=1)]
        else:
            new = [np.stack([ab, b, c], axis=1), np.stack([ab, c, ac], axis=1)]
        parts += new
        sources += [cut] * len(new)
    joined = np.concatenate(parts)
    return joined[..., :3], joined[..., 3:], np.concatenate(sources)


def _crossing(start: Floats, end: Floats, near: float) -> Floats:
    share = (-near - start[:, 2]) / (end[:, 2] - start[:, 2])
    return np.asarray(start + (end - start) * share[:, None], np.float64)
