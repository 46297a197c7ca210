"""Restyles a render: the whole picture by image-to-image, its shape held by depth and normals where the model can."""

from __future__ import annotations

import shutil
import struct
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .bake import Subject, geometry
from .control import Control
from .errors import Refused
from .pictures import Picture, Source, picture_from_pixels
from .raster import Floats
from .repaint import painted_channels, to_pixels
from .request import DEFAULT_OPTIONS, Ask, Options
from .views import View, look

if TYPE_CHECKING:
    from scumble.client import Client, ControlImage, Patch

_TGA_HEADER = 18
_TGA_RAW_COLORS = 2
_TGA_FROM_TOP = 0x20


@dataclass(frozen=True, slots=True)
class RenderFile:
    """A render that Blender wrote as an uncompressed Targa file, the quickest it can write: display values.

    The file stands alone in a folder of its own, which is removed when it was read. opaque: its alpha says nothing.
    """

    path: Path
    opaque: bool = False
    color_space: str = "srgb"

    def to_wire(self) -> NDArray[Any]:
        """uint8, height x width x 4, row 0 on top, straight alpha."""
        data = self.path.read_bytes()
        shutil.rmtree(self.path.parent, ignore_errors=True)
        pixels = decode_targa(data)
        if self.opaque:
            pixels[..., 3] = 255
        return pixels


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a viewport drew, display values. pixels: uint8, height x width x 4, row 0 at the bottom."""

    pixels: NDArray[np.uint8]
    color_space: str = "srgb"

    def to_wire(self) -> NDArray[Any]:
        """As of `RenderFile`; a viewport's background is no hole."""
        turned = np.ascontiguousarray(self.pixels[::-1])
        turned[..., 3] = 255
        return turned


@dataclass(frozen=True, slots=True)
class Scene:
    """What stands before the camera, for control: triangles and the view."""

    subject: Subject
    view: View


class Shape:
    """Depth and normals of a scene in the size of a picture, computed when they are asked for. As in `bake.Look`."""

    def __init__(self, scene: Scene, width: int, height: int) -> None:
        self._subject = scene.subject
        self._view = replace(scene.view, width=width, height=height)

    @property
    def depth(self) -> Floats:
        """height x width, 0 where nothing is."""
        return self._both[0]

    @property
    def normals(self) -> Floats:
        """height x width x 3, camera space."""
        return self._both[1]

    @cached_property
    def _both(self) -> tuple[Floats, Floats]:
        subject = self._subject
        normals = subject.normals
        if normals is None:
            normals = np.repeat(subject.flat_normals[:, None], 3, axis=1)
        carried = np.concatenate([subject.uv, normals], axis=2)
        return geometry(self._view, look(self._view, subject.triangles, carried), 1)


@dataclass(frozen=True, slots=True)
class RestyleRequest:
    """A render painted anew. strength: above 0 (as it is) to 1. control: as of `Control`; needs the scene.

    into: where to write the picture, without a suffix: .png, or .exr for floats; None makes an image of it.
    """

    prompt: str
    picture: RenderFile | Drawn | Source
    seed: int
    strength: float = 0.5
    scene: Scene | None = None
    control: str = "none"
    options: Options = DEFAULT_OPTIONS
    into: Path | None = None

    def paint(self, client: Client, ask: Ask) -> tuple[Picture, ...]:
        """One picture a variation. Raises Refused where the file cannot be written."""
        before = self.picture.to_wire()
        pixels = to_pixels(painted_channels(before), self.picture.color_space)
        found: list[Patch] = []

        def one(images: tuple[ControlImage, ...]) -> Patch:
            found[:] = ask(self._request(pixels, images))
            return found[0]

        notes: list[str] = []
        if self.scene is None:
            one(())
        else:
            control = Control(self.control)
            control.steer(Shape(self.scene, before.shape[1], before.shape[0]), one)
            notes = control.notes
        pictures = []
        for patch in found:
            recipe = {**patch.recipe, "notes": [*patch.recipe.get("notes", ()), *notes]}
            pictures.append(picture_from_pixels(patch.pixels, patch.seed, recipe))
        if self.into is not None:
            write(pictures[0], self.into)
        return tuple(pictures)

    def _request(self, pixels: Any, images: tuple[ControlImage, ...]) -> Any:
        from scumble.client import ImageToImage

        return ImageToImage(
            prompt=self.prompt,
            image=pixels,
            strength=self.strength,
            seed=self.seed,
            control_images=images,
            **self.options.to_client(),
        )


def decode_targa(data: bytes) -> NDArray[np.uint8]:
    """An uncompressed 24 or 32 bit Targa file -> height x width x 4, row 0 on top. Raises Refused for any other."""
    skip, _, kind = data[:3]
    width, height, bits, order = struct.unpack_from("<HHBB", data, 12)
    if kind != _TGA_RAW_COLORS or bits not in (24, 32):
        raise Refused("Blender wrote the render in a way that Scumble cannot read.")
    channels = bits // 8
    start = _TGA_HEADER + skip
    stored = np.frombuffer(data, np.uint8, width * height * channels, start)
    rows = stored.reshape(height, width, channels)
    if not order & _TGA_FROM_TOP:
        rows = rows[::-1]
    found = np.full((height, width, 4), 255, np.uint8)
    found[..., :3] = rows[..., 2::-1]
    if channels == 4:
        found[..., 3] = rows[..., 3]
    return found


def write(picture: Picture, path: Path) -> Path:
    """Writes a picture so that nobody ever sees half a file; its path. Raises Refused."""
    data = picture.png if picture.png is not None else picture.exr
    assert data is not None
    final = path.with_name(path.name + (".png" if picture.png is not None else ".exr"))
    part = final.with_name(final.name + ".part")
    try:
        part.write_bytes(data)
        part.replace(final)
    except OSError as error:
        raise Refused(f"The picture could not be written to {final}: {error.strerror}.") from error
    return final
