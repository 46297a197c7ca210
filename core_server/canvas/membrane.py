"""A smooth field through what is known at a border: the membrane that takes these values and is flat beyond them.

Laplace's equation with the known px as boundary values, as in seamless cloning (Perez, Gangnet and Blake, "Poisson
image editing", 2003). What varies quickly along the border fades within a few px of it, what varies slowly reaches
far. Solved coarse to fine: each level starts from the coarser one and is relaxed a few times, so that the cost is that
of a few blurs.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from core_server.canvas.plan import SeamlessAxes, wraps

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

_RELAXATIONS = 6
"""Of each level; what is left of the error is below a code of 8 bit."""
_NEIGHBOURS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32) / np.float32(4)
_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


def membrane(values: FloatArray, known: BoolArray) -> FloatArray:
    """values: (height, width, channels up to 4) float32; known: (height, width), at least one px.

    Exactly `values` where `known`; elsewhere each px is about the mean of its four neighbours. The borders of the
    picture are free.
    """
    levels = pyramid(values, known)
    colours, shares = levels[-1]
    mean = colours.sum((0, 1)) / max(float(shares.sum()), 1e-6)
    field = np.broadcast_to(mean, colours.shape).astype(np.float32)
    for colours, shares in reversed(levels):
        height, width = shares.shape
        field = cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR)
        field = field.reshape(colours.shape)
        fixed = (shares > 0)[..., None]
        border = colours / np.maximum(shares, np.float32(1e-6))[..., None]
        field = np.where(fixed, border, field)
        for _ in range(_RELAXATIONS):
            mixed = cv2.filter2D(field, -1, _NEIGHBOURS, borderType=cv2.BORDER_REPLICATE)
            field = np.where(fixed, border, mixed.reshape(colours.shape))
    return np.asarray(field, np.float32)


def pyramid(values: FloatArray, known: BoolArray) -> list[tuple[FloatArray, FloatArray]]:
    """(values weighed by how much of them is known, that weight), halved until there is some everywhere or one row or
    column is left (push-pull interpolation: Gortler et al., "The Lumigraph", 1996)."""
    weight = known.astype(np.float32)
    levels = [(values * weight[..., None], weight)]
    while min(levels[-1][1].shape) > 1 and bool((levels[-1][1] <= 0).any()):
        colours, shares = levels[-1]
        size = ((shares.shape[1] + 1) // 2, (shares.shape[0] + 1) // 2)
        levels.append((_halved(colours, size), _halved(shares, size)))
    return levels


def rim_of(inner: BoolArray) -> BoolArray:
    """The px outside `inner`, (height, width), that touch it: the border it is known at."""
    touching = cv2.dilate(inner.astype(np.uint8), _CROSS) > 0
    return np.asarray(touching & ~inner)


def margins_of(
    shape: tuple[int, ...], reach: int, seamless: SeamlessAxes
) -> tuple[tuple[int, int], ...]:
    """How far rows and columns are continued at the other side, px, where they wrap; at most once around."""
    return tuple(
        (min(reach, side),) * 2 if wraps(seamless, axis) else (0, 0)
        for axis, side in enumerate(shape[:2])
    )


def _halved(array: FloatArray, size: tuple[int, int]) -> FloatArray:
    small = cv2.resize(array, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32).reshape(size[1], size[0], *array.shape[2:])
