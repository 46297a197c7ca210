"""Images in a real Blender: what it stores is what was meant."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
import pytest

from scumble.client import ColorSpace, Patch, Pixels

from .conftest import addon


def picture(array: np.ndarray, space: ColorSpace = ColorSpace.SRGB) -> Any:
    module = addon("bridge.pictures")
    pixels = Pixels.from_numpy(array, space)
    return module.picture_from_patch(Patch(pixels=pixels, seed=1, recipe={}))


def noise(channels: int, dtype: str = "uint8") -> np.ndarray:
    rng = np.random.default_rng(5)
    if np.dtype(dtype).kind == "f":
        return rng.random((9, 13, channels)).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, (9, 13, channels), dtype, endpoint=True)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_bytes_round_trip(scumble: Any, channels: int) -> None:
    images, array = addon("host.images"), noise(channels)
    image = images.create_image(picture(array), "x")
    read = images.read_source(image).to_wire()
    assert read.dtype == np.uint8
    assert np.array_equal(read[..., :channels], array)
    assert image.packed_file is not None
    assert image.size[0] == 13


def test_16_bit_keeps_its_depth(scumble: Any) -> None:
    images, array = addon("host.images"), noise(3, "uint16")
    read = images.read_source(images.create_image(picture(array), "x")).to_wire()
    assert read.dtype == np.float32
    shown = addon("bridge.pictures").linear_to_srgb(read[..., :3])
    assert np.abs(shown - array / 65535).max() < 1e-4


def test_data_is_never_colour_converted(scumble: Any) -> None:
    images, array = addon("host.images"), noise(1, "float32")
    image = images.create_image(picture(array, ColorSpace.NON_COLOR), "height")
    assert image.colorspace_settings.is_data
    assert image.packed_file is not None
    assert np.allclose(images.read_source(image).to_wire()[..., :1], array, atol=1e-6)
    image = images.create_image(picture(noise(3), ColorSpace.NON_COLOR), "normal")
    assert image.colorspace_settings.is_data
    assert np.array_equal(images.read_source(image).to_wire()[..., :3], noise(3))


def test_images_without_pixels_are_refused_in_words(scumble: Any) -> None:
    images, refused = addon("host.images"), addon("bridge.errors").Refused
    tiled = bpy.data.images.new("tiles", 8, 8, tiled=True)
    with pytest.raises(refused, match="UDIM"):
        images.read_source(tiled)
    missing = bpy.data.images.new("missing", 8, 8)
    missing.source = "FILE"
    missing.filepath = "//nowhere.png"
    with pytest.raises(refused, match="no pixels"):
        images.read_source(missing)


@pytest.mark.parametrize(
    ("prompt", "map_name", "name"),
    [
        ("  red \n bricks ", "", "red bricks"),
        ("red bricks", "base_color", "red bricks"),
        ("red bricks", "ambient_occlusion", "red bricks ambient occlusion"),
        ("word " * 30, "", "word word word word word word word word"),
        ("", "", "Scumble"),
        ("ß" * 60, "", "ß" * 40),
    ],
)
def test_names(scumble: Any, prompt: str, map_name: str, name: str) -> None:
    assert addon("host.images").image_name(prompt, map_name) == name
