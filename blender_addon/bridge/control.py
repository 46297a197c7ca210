"""Steering by shape: the view's depth and normals go along where the model has a network for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .raster import Floats
from .repaint import to_pixels

if TYPE_CHECKING:
    from scumble.client import ControlImage, Patch

_KINDS = {
    "none": (),
    "depth": ("depth",),
    "normal": ("normal",),
    "both": ("depth", "normal"),
    "auto": ("depth", "normal"),
}


class Shape(Protocol):
    """What steers; row 0 at the bottom."""

    @property
    def depth(self) -> Floats:
        """Nearness, height x width, 0..1."""
        ...

    @property
    def normals(self) -> Floats:
        """height x width x 3, camera space, -1..1."""
        ...


class Control:
    """The choice for one wish; what was refused once is not tried again with the next view."""

    def __init__(self, choice: str) -> None:
        self._wanted = list(_KINDS[choice])
        self._gone: list[str] = []
        self._is_auto = choice == "auto"
        self.notes: list[str] = []
        """What was done without, for people."""

    def steer(self, look: Shape, paint: Callable[[tuple[ControlImage, ...]], Patch]) -> Patch:
        """Paints with the wanted pictures; on auto without those that the server has no network for."""
        from scumble.client import InvalidRequest

        while True:
            try:
                return paint(tuple(_image(kind, look) for kind in self._wanted))
            except InvalidRequest as error:
                if not (self._is_auto and self._wanted and _is_about_control(error)):
                    raise
                self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """Leaves out the kind that is missing; all where none of them works with this model."""
        missing = [kind for kind in self._wanted if f"ControlNet for {kind} " in str(error)]
        left = [kind for kind in self._wanted if kind not in missing] if missing else []
        self._gone += [kind for kind in self._wanted if kind not in left]
        self._wanted = left
        self.notes = [
            f"Painted without the {' and '.join(self._gone)} of the view: the model has no ControlNet for it."
        ]


def _is_about_control(error: Exception) -> bool:
    return "control" in f"{getattr(error, 'field', '')} {error}".lower()


def _image(kind: str, look: Shape) -> ControlImage:
    """Depth: near is bright. Normals: of the camera, red right, green up, blue towards it."""
    from scumble.client import ControlImage

    depth = np.repeat(look.depth[..., None], 3, axis=2)
    values = depth if kind == "depth" else look.normals * 0.5 + 0.5
    array = np.rint(np.clip(values[::-1], 0, 1) * 255).astype(np.uint8)
    return ControlImage(kind, to_pixels(np.ascontiguousarray(array), "non_color"))
