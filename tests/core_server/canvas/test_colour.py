"""Samples and colour spaces, between a document's numbers and sRGB."""

from __future__ import annotations

import numpy as np
import pytest

from core_server.canvas.colour import (
    from_srgb,
    from_unit,
    linear_to_srgb,
    srgb_to_linear,
    to_model_rgb,
    to_srgb,
    to_unit,
)
from core_server.canvas.pixels import SAMPLE_DTYPES, ColorSpace, Pixels
from tests.core_server.canvas import profiles

SPACES = [ColorSpace.SRGB, ColorSpace.LINEAR_REC709, ColorSpace.NON_COLOR, ColorSpace.ICC]


@pytest.mark.parametrize("dtype", SAMPLE_DTYPES)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("space", SPACES)
def test_there_and_back_within_half_a_code_of_16_bit(dtype, channels, space):
    values = np.random.default_rng(7).random((9, 5, channels))
    full = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    array = (values * full).round() if full > 1 else values
    icc = profiles.grey() if channels == 1 else profiles.matrix()
    document = Pixels(array.astype(dtype), space, icc if space is ColorSpace.ICC else b"")
    srgb = to_srgb(document)
    assert (srgb.dtype, srgb.shape) == (np.float32, (9, 5, 3))
    back = from_srgb(srgb, document)
    assert back.shape == (9, 5, min(channels, 3))
    expected = to_unit(document.array[..., :3])
    assert back == pytest.approx(expected, abs=0.5 / 65535)
    if np.dtype(dtype).kind == "u":
        assert (from_unit(back, np.dtype(dtype)) == document.array[..., :3]).all()


def test_the_srgb_curve():
    """Reference values of IEC 61966-2-1."""
    codes = np.array([0, 10, 55, 128, 188, 255]) / 255
    light = [0.0, 0.0030353, 0.0382044, 0.2158605, 0.5028865, 1.0]
    assert srgb_to_linear(codes) == pytest.approx(light, abs=1e-6)
    assert linear_to_srgb(light) == pytest.approx(codes, abs=1e-6)


def test_every_code_of_16_bit_survives():
    codes = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    assert (from_unit(to_unit(codes), np.dtype(np.uint16)) == codes).all()
    linear = from_unit(srgb_to_linear(linear_to_srgb(to_unit(codes))), np.dtype(np.uint16))
    assert np.abs(linear.astype(int) - codes.astype(int)).max() <= 1


def test_floats_keep_what_their_type_can_hold():
    light = np.array([-1e9, -3.0, 70000.0, 1e30], np.float32)
    assert from_unit(light, np.dtype(np.float16)).tolist() == [-65504, -3, 65504, 65504]


def test_pictures_that_steer_a_model_are_clipped():
    document = Pixels(np.full((2, 2, 3), 7.5, np.float16), ColorSpace.LINEAR_REC709)
    assert (to_model_rgb(document) == 1).all()
    assert (to_srgb(document) > 2).all()
