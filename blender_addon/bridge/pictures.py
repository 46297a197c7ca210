"""Pixels between the wire and Blender: the only place that turns rows over.

The wire's row 0 is the top; Blender's `Image.pixels` starts at the bottom, has 4 float channels, and holds stored
value / 255 for byte images and scene-linear light for float images.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .exr import encode_exr
from .png import encode_png

if TYPE_CHECKING:
    from scumble.client import Patch, Pixels

FloatArray = NDArray[np.float32]
PREVIEW_SIDE = 256


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """rgba: flat float32 of width x height x 4, bottom row first, display values 0..1."""

    width: int
    height: int
    rgba: FloatArray


NO_THUMBNAIL = Thumbnail(1, 1, np.zeros(4, np.float32))


@dataclass(frozen=True, slots=True)
class Picture:
    """A result, ready to become a Blender image: either `png`, or `floats` and `exr`, are set.

    png: an encoded file. floats: height x width x 4, float32, bottom row first, scene-linear (or data).
    """

    width: int
    height: int
    channels: int
    is_data: bool
    seed: int
    recipe: str
    """JSON: what was really done."""
    map_name: str
    notes: tuple[str, ...] = ()
    """What the server wants the artist to know about it, one sentence each."""
    png: bytes | None = None
    floats: FloatArray | None = None
    exr: bytes | None = None
    """`floats` as a file."""
    tile: int = 0
    """Number of the UDIM tile, 1001 and up; 0 for a single image."""
    thumbnail: Thumbnail = NO_THUMBNAIL


@dataclass(frozen=True, slots=True)
class Source:
    """An image as Blender holds it, taken on the main thread and read on the bridge's.

    flat: `Image.pixels`, width x height x 4 float32. is_premultiplied: whether its colours are multiplied by alpha, as
    in float images. has_alpha: whether its file has a place for alpha, which the artist may want to erase. color_space:
    as on the wire.
    """

    flat: FloatArray
    width: int
    height: int
    is_float: bool = False
    is_premultiplied: bool = False
    has_alpha: bool = True
    color_space: str = "srgb"
    tile: int = 0

    def to_wire(self) -> NDArray[Any]:
        """height x width x 4, row 0 on top, straight alpha: the very uint8 of a byte image, else float32."""
        wire = to_wire(self.flat, self.width, self.height, is_float=self.is_float)
        if self.is_premultiplied:
            alpha = wire[..., 3:]
            partly = (alpha > 0) & (alpha < 1)
            wire[..., :3] = np.where(
                partly, wire[..., :3] / np.where(partly, alpha, 1), wire[..., :3]
            )
        return wire

    def to_picture(
        self,
        changed: NDArray[Any],
        before: NDArray[Any],
        *,
        seed: int,
        recipe: dict[str, Any],
    ) -> Picture:
        """The image with what was changed in it; all samples that are equal in `changed` and `before` (both as of
        `to_wire`) keep their bits."""
        text = json.dumps(recipe, ensure_ascii=False, sort_keys=True)
        png = floats = None
        is_data = self.color_space == "non_color"
        if self.is_float:
            same = (changed == before).all(axis=2, keepdims=True)
            after = changed.astype(np.float32)
            if self.is_premultiplied:
                after = np.concatenate([after[..., :3] * after[..., 3:], after[..., 3:]], axis=2)
            kept = self.flat.reshape(self.height, self.width, 4)
            floats = np.ascontiguousarray(np.where(same[::-1], kept, after[::-1]), np.float32)
        else:
            opaque = not self.has_alpha and bool((changed[..., 3] == 255).all())
            png = encode_png(
                changed[..., :3] if opaque else changed, srgb=not is_data, text={"scumble": text}
            )
        return Picture(
            width=self.width,
            height=self.height,
            channels=4,
            is_data=is_data,
            seed=seed,
            recipe=text,
            map_name="",
            notes=tuple(str(note) for note in recipe.get("notes", ())),
            png=png,
            floats=floats,
            exr=None if floats is None else encode_exr(floats[::-1], alpha=self.has_alpha),
            tile=self.tile,
            thumbnail=thumbnail_from_wire(displayed(changed, self.color_space)),
        )


def picture_from_patch(patch: Patch) -> Picture:
    """Encodes a result. 8 and 16 bit become a PNG that carries the recipe; half and full float stay floats."""
    picture = picture_from_pixels(patch.pixels, patch.seed, patch.recipe)
    return replace(picture, map_name=patch.map_name)


def picture_from_pixels(pixels: Pixels, seed: int, recipe: Mapping[str, Any]) -> Picture:
    """As `picture_from_patch`, of pixels that come without a job."""
    array = pixels.numpy()
    is_data = pixels.color_space == "non_color"
    text = json.dumps(recipe, ensure_ascii=False, sort_keys=True)
    encoded = array.dtype in (np.uint8, np.uint16)
    floats = None if encoded else to_blender(array, pixels.color_space)
    return Picture(
        width=pixels.width,
        height=pixels.height,
        channels=pixels.channels,
        is_data=is_data,
        seed=seed,
        recipe=text,
        map_name="",
        notes=tuple(str(note) for note in recipe.get("notes", ())),
        png=encode_png(array, srgb=not is_data, text={"scumble": text}) if encoded else None,
        floats=floats,
        exr=None if floats is None else encode_exr(floats[::-1], alpha=pixels.channels == 4),
        thumbnail=thumbnail_from_wire(displayed(array, pixels.color_space)),
    )


def thumbnail_from_wire(array: NDArray[Any], side: int = PREVIEW_SIDE) -> Thumbnail:
    """Every k-th of height x width x channels pixels in display values, so that no side is above `side` px."""
    step = -(-max(array.shape[0], array.shape[1]) // side)
    small = to_unit_floats(array[::step, ::step])
    rgba = _four_channels(small)[::-1]
    return Thumbnail(rgba.shape[1], rgba.shape[0], np.ascontiguousarray(rgba).ravel())


def to_blender(array: NDArray[Any], color_space: str) -> FloatArray:
    """Wire pixels (height x width x channels, row 0 top) as a Blender float image: bottom row first, 4 channels,
    scene-linear unless color_space is "linear_rec709" already or "non_color"."""
    floats = _four_channels(to_unit_floats(array))[::-1]
    if color_space == "srgb":
        floats[..., :3] = srgb_to_linear(floats[..., :3])
    return np.ascontiguousarray(floats)


def displayed(array: NDArray[Any], color_space: str) -> NDArray[Any]:
    """Wire pixels in display values: light is encoded, everything else is as it is."""
    if color_space != "linear_rec709":
        return array
    floats = to_unit_floats(array)
    floats[..., :3] = linear_to_srgb(np.clip(floats[..., :3], 0, 1))
    return floats


def to_wire(flat: FloatArray, width: int, height: int, *, is_float: bool) -> NDArray[Any]:
    """Blender's `Image.pixels` (flat, 4 channels, bottom row first) as height x width x 4 with row 0 at the top.

    Byte images come back as the very uint8 they hold, float images as the very float32.
    """
    rows = flat.reshape(height, width, 4)[::-1]
    if not is_float:
        stored: NDArray[np.uint8] = np.rint(np.clip(rows, 0, 1) * 255).astype(np.uint8)
        return stored
    return np.array(rows, dtype=np.float32, order="C")


def to_unit_floats(array: NDArray[Any]) -> FloatArray:
    """Integer samples divided by their full scale; floats as they are. A new float32 array."""
    if array.dtype.kind == "u":
        return array.astype(np.float32) * np.float32(1 / np.iinfo(array.dtype).max)
    return array.astype(np.float32)


def srgb_to_linear(values: FloatArray) -> FloatArray:
    """IEC 61966-2-1 decoding; negative values are mirrored."""
    size = np.abs(values)
    linear = np.where(size <= 0.04045, size / 12.92, ((size + 0.055) / 1.055) ** 2.4)
    return np.copysign(linear, values).astype(np.float32)


def linear_to_srgb(values: FloatArray) -> FloatArray:
    """IEC 61966-2-1 encoding; negative values are mirrored."""
    size = np.abs(values)
    encoded = np.where(size <= 0.0031308, size * 12.92, 1.055 * size ** (1 / 2.4) - 0.055)
    return np.copysign(encoded, values).astype(np.float32)


def _four_channels(floats: FloatArray) -> FloatArray:
    """Grey and RGB with opaque alpha added; RGBA as it is."""
    height, width, channels = floats.shape
    if channels == 4:
        return floats
    rgba = np.ones((height, width, 4), np.float32)
    rgba[..., :3] = floats
    return rgba
