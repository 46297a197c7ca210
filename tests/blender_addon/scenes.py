"""Small scenes for projection, and the truth about what a camera sees of them."""

from __future__ import annotations

import numpy as np

from blender_addon.bridge.bake import Subject
from blender_addon.bridge.pictures import Source
from blender_addon.bridge.views import View, fit_planes

SIDE = 256


def smooth(side: int = SIDE) -> np.ndarray:
    """A texture without steps, in bytes / 255, different everywhere, row 0 at the bottom."""
    y, x = (np.mgrid[0:side, 0:side] + 0.5) / side
    waves = [
        np.sin(2 * np.pi * (2 * x + y)),
        np.cos(2 * np.pi * (x - 2 * y)),
        np.sin(2 * np.pi * (x + y)),
    ]
    return np.asarray(np.rint((0.5 + 0.4 * np.stack(waves, axis=2)) * 255) / 255)


def noise(side: int = SIDE) -> np.ndarray:
    """The hardest texture: every texel by itself."""
    return np.random.default_rng(2).integers(0, 256, (side, side, 3)) / 255


def source(texture: np.ndarray, tile: int = 0) -> Source:
    rgba = np.ones((*texture.shape[:2], 4), np.float32)
    rgba[..., :3] = np.rint(texture * 255) / 255
    return Source(rgba.ravel(), texture.shape[1], texture.shape[0], tile=tile)


def camera(
    position: tuple[float, float, float], width: int = 512, height: int = 400, ortho: bool = False
) -> View:
    """Looks from there at the origin."""
    back = np.array(position, float)
    back /= np.linalg.norm(back)
    right = np.cross([0, 0, 1.0], back)
    right /= np.linalg.norm(right)
    world = np.eye(4)
    world[:3, :] = np.stack([right, np.cross(back, right), back, position], axis=1)
    aspect = width / height
    if ortho:
        projection = np.diag([1 / 2.5, aspect / 2.5, -0.02, 1.0])
    else:
        projection = np.array(
            [[2.0, 0, 0, 0], [0, 2.0 * aspect, 0, 0], [0, 0, -1, -0.2], [0, 0, -1, 0]]
        )
    return View(np.linalg.inv(world), projection, width, height, 0.1)


def quads(corners: np.ndarray, uv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """n x 4 corners as 2 n triangles."""
    fan = [[0, 1, 2], [0, 2, 3]]
    return corners[:, fan].reshape(-1, 3, 3), uv[:, fan].reshape(-1, 3, 2)


def cube() -> tuple[np.ndarray, np.ndarray]:
    """Six faces with a cell each of a 3 x 2 atlas; side 2."""
    faces, uvs = [], []
    for number in range(6):
        axis, sign = number // 2, 1 if number % 2 else -1
        square = np.zeros((4, 3))
        a, b = (axis + 1) % 3, (axis + 2) % 3
        square[:, axis] = sign
        square[:, a] = [-1, 1, 1, -1]
        square[:, b] = [-1, -1, 1, 1]
        faces.append(square if sign > 0 else square[::-1])
        left, bottom = (number % 3) / 3 + 0.02, (number // 3) / 2 + 0.02
        right, top = left + 0.29, bottom + 0.46
        cell = np.array([[left, bottom], [right, bottom], [right, top], [left, top]])
        uvs.append(cell if sign > 0 else cell[::-1])
    return quads(np.array(faces), np.array(uvs))


def cylinder(sides: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Without lids; unrolled over the whole texture."""
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    faces, uvs = [], []
    for k in range(sides):
        (x0, y0), (x1, y1) = ((np.cos(t), np.sin(t)) for t in angle[k : k + 2])
        faces.append([[x0, y0, -1], [x1, y1, -1], [x1, y1, 1], [x0, y0, 1]])
        u0, u1 = k / sides, (k + 1) / sides
        uvs.append([[u0, 0.1], [u1, 0.1], [u1, 0.9], [u0, 0.9]])
    return quads(np.array(faces, float), np.array(uvs))


def alone(shape: tuple[np.ndarray, np.ndarray]) -> Subject:
    return Subject(*shape, np.ones(len(shape[0]), bool))


def behind_another() -> Subject:
    """The cube, and another cube, turned and smaller, that stands before a part of it and cuts into it."""
    triangles, uv = cube()
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    other = triangles * 0.45 @ turn.T + [1.1, -0.5, 0.3]
    mine = np.r_[np.ones(len(triangles), bool), np.zeros(len(other), bool)]
    return Subject(np.r_[triangles, other], np.r_[uv, uv], mine)


def sees(view: View, subject: Subject, points: np.ndarray) -> np.ndarray:
    """Which points are in the picture with nothing in front: each against every triangle (Möller and Trumbore 1997)."""
    if view.is_orthographic:
        direction = np.broadcast_to(np.linalg.inv(view.to_camera)[:3, 2], points.shape) * 50
    else:
        direction = view.position - points
    px = view.screen(view.camera_space(points))[0]
    free = ((px >= 0) & (px <= [view.width, view.height])).all(axis=1)
    for a, b, c in subject.triangles:
        p = np.cross(direction, c - a)
        determinant = p @ (b - a)
        with np.errstate(all="ignore"):
            inverse = 1 / determinant
            s = points - a
            u = (s * p).sum(axis=1) * inverse
            q = np.cross(s, b - a)
            v = (direction * q).sum(axis=1) * inverse
            t = (q @ (c - a)) * inverse
        free &= ~((u > 0) & (v > 0) & (u + v < 1) & (t > 1e-4) & (t < 1))
    return free


def texel_points(subject: Subject, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """World points of all texels of a single image (nan where no face lies), and their triangle."""
    place = np.arange(side * side)
    uv = np.stack([(place % side + 0.5) / side, (place // side + 0.5) / side], axis=1)
    points, owner = np.full((len(place), 3), np.nan), np.zeros(len(place), int)
    for number in np.flatnonzero(subject.target):
        a, b, c = subject.uv[number]
        weights = np.linalg.solve(
            np.array([[*a, 1], [*b, 1], [*c, 1]]).T, np.c_[uv, np.ones(len(uv))].T
        ).T
        inside = (weights > -1e-9).all(axis=1)
        points[inside] = weights[inside] @ subject.triangles[number]
        owner[inside] = number
    return points, owner


def px_of_texel(view: View, subject: Subject, points: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """How many px a texel measures where it is smallest on the screen."""
    planes, _ = fit_planes(subject.uv * SIDE, subject.triangles)

    def screen(at: np.ndarray) -> np.ndarray:
        return view.screen(view.camera_space(at))[0]

    steps = [screen(points + planes[owner][:, :, k]) - screen(points) for k in (0, 1)]
    return np.linalg.svd(np.stack(steps, axis=2), compute_uv=False)[:, 1]
