"""Material maps of a picture of any size, in pieces if it is large; the pieces show what the whole would."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from core_server.canvas.geometry import Extent
from core_server.canvas.plan import SeamlessAxes, wraps
from core_server.canvas.resample import extent_of, resize
from core_server.canvas.sizes import round_up
from core_server.errors import FailedPrecondition, ModelLoadFailed, on_one_line
from core_server.pipelines.maps_network import CONFIG, MULTIPLE, REACH, WEIGHTS, MapsNetwork
from core_server.pipelines.seamless import seamless
from core_server.pipelines.sources.weights import read_header

FloatArray = npt.NDArray[np.float32]
Maps = dict[str, FloatArray]
"""By name as in `scumble.v1.MaterialMap`: (height, width, 1 or 3) float32 0..1."""

MAP_NAMES = ("normal", "roughness", "height", "ambient_occlusion")
PIECE = 1024
"""Longest side of what the network sees at once, px; a multiple of MULTIPLE. About 0.6 GB on a CPU."""
MARGIN = 32
"""Px mirrored around a picture that does not tile: what lies beyond the border is unknown, but not black."""


@dataclass(slots=True, eq=False)
class MapMaker:
    """The maps network of `folder` on `device`; loaded when it is first used."""

    folder: Path
    device: torch.device
    piece: int = PIECE
    _network: MapsNetwork | None = field(default=None, init=False)
    _sha256: str = field(default="", init=False)

    @property
    def is_there(self) -> bool:
        """Whether the network's files are."""
        return (self.folder / CONFIG).is_file() and (self.folder / WEIGHTS).is_file()

    def require(self) -> None:
        """Errors: FailedPrecondition without the network's files."""
        if not self.is_there:
            raise FailedPrecondition(
                "This installation has no network for material maps, so there are none; install a Scumble that "
                f"brings {WEIGHTS} in {'/'.join(self.folder.parts[-3:])}, or ask for the picture alone."
            )

    def sha256(self) -> str:
        """Of the network's weights. Errors: FailedPrecondition."""
        self.require()
        if not self._sha256:
            with (self.folder / WEIGHTS).open("rb") as stream:
                self._sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        return self._sha256

    def passes(self, extent: Extent, axes: SeamlessAxes) -> int:
        """How many pieces a picture of that size is made in."""
        height, width = (side for _, _, side in self._layout(extent, axes))
        return max(1, len(_spans(height, self.piece)) * len(_spans(width, self.piece)))

    @torch.no_grad()
    def make(
        self,
        image: FloatArray,
        axes: SeamlessAxes,
        on_piece: Callable[[], None] = lambda: None,
    ) -> Maps:
        """All of `MAP_NAMES` for a picture, in its size.

        image: (height, width, 3) float32 sRGB 0..1. axes: those along which it tiles; its maps tile along them too.
        normal: tangent space, OpenGL (+Y up), unit vectors encoded n * 0.5 + 0.5. height: 0.5 is the mean plane, and 1
        stands 5 px of a 256 px tile above 0. on_piece: called after each piece; may raise to end it.
        Errors: FailedPrecondition, ModelLoadFailed.
        """
        network = self._loaded()
        extent = extent_of(image)
        rows, columns = self._layout(extent, axes)
        fitted = Extent(*(side for _, side, _ in (columns, rows)))
        sized = resize(image, fitted, seamless=axes)
        padded = _surrounded(sized, rows, columns, axes)
        planes = self._predict(network, padded, axes, on_piece)
        top, left = rows[0], columns[0]
        planes = planes[top : top + fitted.height, left : left + fitted.width]
        # Three planes at a time: OpenCV averages no more than four.
        halves = (resize(part, extent, seamless=axes) for part in np.split(planes, 2, axis=2))
        return _named(np.concatenate(list(halves), axis=2))

    def _loaded(self) -> MapsNetwork:
        self.require()
        if self._network is None:
            read_header(self.folder / WEIGHTS)
            try:
                network = MapsNetwork.load(self.folder).to(self.device)
                self._network = network.requires_grad_(False)
            except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
                raise ModelLoadFailed(
                    f"The network for material maps in {self.folder} cannot be loaded: "
                    f"{on_one_line(error, 200)}"
                ) from error
        return self._network

    def _layout(self, extent: Extent, axes: SeamlessAxes) -> tuple[tuple[int, int, int], ...]:
        """For rows and columns: px before the picture, its own px, px in all, as the network takes them."""
        found = []
        for axis, side in ((0, extent.height), (1, extent.width)):
            if wraps(axes, axis):
                # Other sides would put a strip between the two borders: such a tile is resampled a little.
                own = round_up(side, MULTIPLE)
                found.append((0, own, own))
            else:
                found.append((MARGIN, side, round_up(side + 2 * MARGIN, MULTIPLE)))
        return tuple(found)

    def _predict(
        self,
        network: MapsNetwork,
        image: FloatArray,
        axes: SeamlessAxes,
        on_piece: Callable[[], None],
    ) -> FloatArray:
        height, width = image.shape[:2]
        if height <= self.piece and width <= self.piece:
            with seamless(axes, network):
                planes = self._run(network, image)
            on_piece()
            return planes
        planes = np.empty((height, width, 6), np.float32)
        # A piece sees all that its middle depends on; the picture's own borders stay as they are in one piece.
        sides = tuple(
            list(_pieces(side, self.piece, wraps(axes, axis)))
            for axis, side in enumerate((height, width))
        )
        for keep_y, see_y in sides[0]:
            for keep_x, see_x in sides[1]:
                seen = image.take(see_y, 0, mode="wrap").take(see_x, 1, mode="wrap")
                part = self._run(network, np.ascontiguousarray(seen))
                top, left = keep_y.start - see_y.start, keep_x.start - see_x.start
                planes[keep_y.start : keep_y.stop, keep_x.start : keep_x.stop] = part[
                    top : top + len(keep_y), left : left + len(keep_x)
                ]
                on_piece()
        return planes

    def _run(self, network: MapsNetwork, image: FloatArray) -> FloatArray:
        batch = torch.from_numpy(image).permute(2, 0, 1)[None].to(self.device)
        planes = network(batch)[0].permute(1, 2, 0).cpu().numpy()
        return np.ascontiguousarray(planes, np.float32)


def _spans(side: int, piece: int) -> list[range]:
    if side <= piece:
        return [range(side)]
    step = piece - 2 * REACH
    return [range(start, min(start + step, side)) for start in range(0, side, step)]


def _pieces(side: int, piece: int, wrap: bool) -> Iterator[tuple[range, range]]:
    """(what a piece is kept for, what it sees) along one axis; beyond 0..side the picture goes on from its start."""
    for keep in _spans(side, piece):
        start, stop = keep.start - REACH, keep.stop + REACH
        if not wrap:
            start, stop = max(0, start), min(side, stop)
        yield keep, range(start, stop)


def _surrounded(
    image: FloatArray,
    rows: tuple[int, int, int],
    columns: tuple[int, int, int],
    axes: SeamlessAxes,
) -> FloatArray:
    for axis, (before, side, whole) in enumerate((rows, columns)):
        if not wraps(axes, axis):
            widths = [(0, 0)] * image.ndim
            widths[axis] = (before, whole - before - side)
            image = np.pad(image, widths, mode="symmetric")
    return image


def _named(planes: FloatArray) -> Maps:
    # Resampling shortens normals, and the network knows heights only up to their mean.
    normal = planes[..., 1:4] * 2 - 1
    length = np.linalg.norm(normal, axis=2, keepdims=True)
    normal = normal / np.maximum(length, 1e-6)
    height = planes[..., :1] - planes[..., :1].mean() + 0.5
    maps = {
        "normal": normal * 0.5 + 0.5,
        "roughness": planes[..., 4:5],
        "height": height,
        "ambient_occlusion": planes[..., 5:6],
    }
    return {name: np.clip(values, 0, 1).astype(np.float32) for name, values in maps.items()}
