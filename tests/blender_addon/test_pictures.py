"""Pixels between the wire and Blender: orientation, exactness, colour."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from blender_addon.bridge.pictures import (
    linear_to_srgb,
    picture_from_patch,
    srgb_to_linear,
    thumbnail_from_wire,
    to_blender,
    to_wire,
)
from blender_addon.bridge.png import encode_png
from scumble.client import ColorSpace, Patch, Pixels


def noise(height: int, width: int, channels: int, dtype: str) -> np.ndarray:
    kind = np.dtype(dtype)
    rng = np.random.default_rng(height * 1000 + width)
    if kind.kind == "f":
        return rng.random((height, width, channels)).astype(kind)
    return rng.integers(0, np.iinfo(kind).max, (height, width, channels), kind, endpoint=True)


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3, 4]))
def test_png_is_lossless_for_another_reader(height: int, width: int, channels: int) -> None:
    pixels = noise(height, width, channels, "uint8")
    with Image.open(io.BytesIO(encode_png(pixels))) as image:
        read = np.asarray(image).reshape(height, width, channels)
    assert np.array_equal(read, pixels)


def test_png_keeps_16_bit_and_text() -> None:
    pixels = noise(5, 7, 1, "uint16")
    with Image.open(io.BytesIO(encode_png(pixels, text={"scumble": '{"prompt": "Ö"}'}))) as image:
        assert np.array_equal(np.asarray(image, np.uint16).reshape(5, 7, 1), pixels)
        assert image.info["scumble"] == '{"prompt": "Ö"}'


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(np.zeros((4, 4), np.uint8), id="no channel axis"),
        pytest.param(np.zeros((4, 4, 2), np.uint8), id="two channels"),
        pytest.param(np.zeros((4, 4, 3), np.float32), id="float"),
    ],
)
def test_png_refuses_what_it_cannot_hold(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a PNG has"):
        encode_png(pixels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_integer_results_are_packed_with_their_recipe(dtype: str) -> None:
    pixels = Pixels.from_numpy(noise(3, 5, 3, dtype), ColorSpace.SRGB)
    made = picture_from_patch(Patch(pixels=pixels, seed=1, recipe={"b": 1, "a": "é"}))
    assert made.png is not None
    assert made.floats is None
    assert (made.width, made.height, made.is_data) == (5, 3, False)
    assert made.recipe == '{"a": "é", "b": 1}'
    assert b"iTXtscumble\0" in made.png


def test_float_data_stays_data_and_turns_over() -> None:
    array = noise(3, 5, 1, "float32")
    pixels = Pixels.from_numpy(array, ColorSpace.NON_COLOR)
    made = picture_from_patch(Patch(pixels=pixels, seed=1, recipe={}, map_name="height"))
    assert made.png is None
    assert made.floats is not None
    assert made.is_data
    assert np.array_equal(made.floats[::-1, :, 0], array[..., 0])
    assert (made.floats[..., 3] == 1).all()


@given(st.integers(1, 9), st.integers(1, 9))
def test_byte_images_come_back_as_stored(height: int, width: int) -> None:
    stored = noise(height, width, 4, "uint8")
    # What Blender holds for these bytes: value / 255, bottom row first.
    flat = (stored[::-1].astype(np.float32) / np.float32(255)).ravel()
    assert np.array_equal(to_wire(flat, width, height, is_float=False), stored)


def test_float_images_make_the_round_trip() -> None:
    light = noise(4, 6, 4, "float32") * 4 - 1  # also below 0 and above 1
    wire = to_wire(light[::-1].ravel(), 6, 4, is_float=True)
    assert np.array_equal(wire, light)
    assert np.array_equal(to_blender(wire, "linear_rec709")[::-1], light)
    encoded = wire.copy()
    encoded[..., :3] = linear_to_srgb(wire[..., :3])
    assert np.allclose(to_blender(encoded, "srgb")[::-1], light, rtol=1e-4, atol=1e-5)


def test_srgb_curve_hits_its_known_points() -> None:
    encoded = np.array([0.0, 0.04045, 0.5, 1.0], np.float32)
    linear = np.array([0.0, 0.0031308, 0.2140411, 1.0], np.float32)
    assert np.allclose(srgb_to_linear(encoded), linear, atol=1e-6)
    assert np.allclose(linear_to_srgb(linear), encoded, atol=1e-5)


def test_thumbnail_is_small_and_upside_down() -> None:
    array = np.zeros((300, 700, 3), np.uint8)
    array[0, 0] = 255
    small = thumbnail_from_wire(array)
    assert (small.width, small.height) == (234, 100)
    rows = small.rgba.reshape(100, 234, 4)
    assert rows[-1, 0].tolist() == [1, 1, 1, 1]
    assert rows[0, 0].tolist() == [0, 0, 0, 1]
