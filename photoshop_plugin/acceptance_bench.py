"""Test documents in a real Photoshop, and what the checks of `acceptance_checks` share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tifffile

from photoshop_plugin.document import Document, LayerPatch
from photoshop_plugin.host.interface import PhotoshopHost
from scumble.client import Bounds, ColorSpace, Pixels

Array = npt.NDArray[Any]

SIZE = (233, 167)
SELECTED = Bounds(150, 21, 47, 58)
CONTEXT = Bounds(131, 5, 90, 96)
RESOLUTION = 240.5
TITLE = "Scumble acceptance"


class AcceptanceHost(PhotoshopHost, Protocol):
    """What is needed of `ComPhotoshop`."""

    def run(self, program: str, request: dict[str, Any]) -> Any: ...


class Failed(Exception):
    """A behaviour is not as the plugin needs it."""


class Bench:
    """Test documents in a Photoshop. folder: for the files they are opened from."""

    def __init__(self, host: AcceptanceHost, folder: Path) -> None:
        self.host, self._folder, self._files = host, folder, 0

    @contextmanager
    def document(
        self, dtype: str = "uint8", mode: str = "RGB"
    ) -> Iterator[tuple[Document, Array, Array]]:
        """A test document in front, its picture (height, width, 3) and its soft selection (height, width)."""
        picture, selected = picture_of(dtype), selection_of(dtype)
        self._files += 1
        path = self._folder / f"acceptance-{self._files}.tif"
        tifffile.imwrite(
            path,
            np.dstack([picture, selected]),
            photometric="rgb",
            planarconfig="contig",
            extrasamples=["unspecified"],
            resolution=(RESOLUTION, RESOLUTION),
            resolutionunit="inch",
            metadata=None,
        )
        request = {"action": "open", "file": path.as_posix(), "select": True}
        opened = int(self.host.run("acceptance", request)["front"])
        try:
            if mode != "RGB":
                self.host.run("acceptance", {"action": "mode", "document": opened, "mode": mode})
            yield self.host.describe(), picture, selected
        finally:
            self.host.run("acceptance", {"action": "close", "document": opened})

    def facts(self, document: Document) -> dict[str, Any]:
        """What Photoshop says about a test document."""
        return dict(self.host.run("acceptance", {"action": "facts", "document": document.id}))

    def mask(self, document: Document, *, on: bool) -> None:
        """Enters or leaves Quick Mask mode."""
        self.host.run("acceptance", {"action": "mask", "document": document.id, "on": on})

    def undo(self, document: Document) -> dict[str, Any]:
        """Takes the plugin's one step back."""
        request = {"action": "undo", "document": document.id, "title": TITLE}
        return dict(self.host.run("acceptance", request))


def picture_of(dtype: str) -> Array:
    """Smooth colours with a fine pattern: no two neighbours are alike, and other modes can hold them."""
    x, y = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    planes = [0.35 + 0.25 * x / SIZE[0], 0.4 + 0.2 * y / SIZE[1], 0.5 + 0.0 * x]
    unit = np.dstack(planes) + 0.03 * ((x * 7 + y * 13) % 5 - 2)[..., None] / 2
    return _samples(unit, dtype)


def selection_of(dtype: str) -> Array:
    """Off-centre, soft over 6 px."""
    columns = np.minimum(np.arange(SIZE[0]) - SELECTED.x + 1, SELECTED.right - np.arange(SIZE[0]))
    rows = np.minimum(np.arange(SIZE[1]) - SELECTED.y + 1, SELECTED.bottom - np.arange(SIZE[1]))
    return _samples(np.clip(np.minimum(columns[None], rows[:, None]) / 6, 0, 1), dtype)


def _samples(unit: Array, dtype: str) -> Array:
    if dtype == "float32":
        return unit.astype(np.float32)
    samples: Array = np.rint(unit * np.iinfo(dtype).max).astype(dtype)
    return samples


def need(true: object, detail: str) -> None:
    if not true:
        raise Failed(detail)


def part(array: Array, box: Bounds = CONTEXT) -> Array:
    return array[box.y : box.bottom, box.x : box.right]


def patch_of(picture: Array, selected: Array, name: str = "patch") -> LayerPatch:
    """The negative of the context, behind the selection."""
    full = 1 if picture.dtype.kind == "f" else int(np.iinfo(picture.dtype).max)
    space = ColorSpace.LINEAR_REC709 if picture.dtype.kind == "f" else ColorSpace.SRGB
    return LayerPatch(
        name,
        Pixels.from_numpy(np.ascontiguousarray(full - part(picture)), space),
        Pixels.from_numpy(np.ascontiguousarray(part(selected)), ColorSpace.NON_COLOR),
        CONTEXT,
    )


def difference(one: Array, other: Array) -> float:
    full = 1 if one.dtype.kind == "f" else int(np.iinfo(one.dtype).max)
    return float(np.abs(one.astype(float) - other.astype(float)).mean() / full)
