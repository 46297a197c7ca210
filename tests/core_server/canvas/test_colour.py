"""Every sample type and colour space comes back as it went in."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from core_server.canvas.colour import (
    from_model_rgb,
    linear_to_srgb,
    srgb_to_linear,
    to_model_rgb,
    to_unit,
)
from core_server.canvas.pixels import ColorSpace, Pixels
from core_server.errors import InvalidRequest

DTYPES = ["uint8", "uint16", "float16", "float32"]


def profile(kind: str) -> bytes:
    """An ICC profile: sRGB, Adobe RGB (1998)-like or grey with gamma 2.2."""
    if kind == "srgb":
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

    def fixed(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(fixed(value) for value in values)

    curve = b"para\0\0\0\0" + struct.pack(">HH", 0, 0) + fixed(2.19921875)
    grey = kind == "grey"
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", 2) + b"x\0" + b"\0" * 80}
    tags[b"wtpt"] = xyz(0.9642, 1.0, 0.8249)
    if grey:
        tags[b"kTRC"] = curve
    else:
        tags |= {
            b"rXYZ": xyz(0.60974, 0.31111, 0.01947),
            b"gXYZ": xyz(0.20528, 0.62567, 0.06087),
            b"bXYZ": xyz(0.14919, 0.06322, 0.74457),
            b"rTRC": curve,
            b"gTRC": curve,
            b"bTRC": curve,
        }
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for name, unpadded in tags.items():
        content = unpadded + b"\0" * (-len(unpadded) % 4)
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content
    size = start + len(body)
    space = b"GRAY" if grey else b"RGB "
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, b"mntr", space, b"XYZ ")
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28
    header += fixed(0.9642) + fixed(1.0) + fixed(0.8249)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    "space", [ColorSpace.SRGB, ColorSpace.LINEAR_REC709, ColorSpace.NON_COLOR, ColorSpace.ICC]
)
def test_there_and_back(dtype, channels, space):
    rng = np.random.default_rng(7)
    values = rng.random((9, 5, channels))
    if np.dtype(dtype).kind == "u":
        array = (values * np.iinfo(dtype).max).round().astype(dtype)
    else:
        array = values.astype(dtype)
    icc = profile("grey" if channels == 1 else "srgb") if space is ColorSpace.ICC else b""
    document = Pixels(array, space, icc)
    model = to_model_rgb(document)
    assert model.dtype == np.float32
    assert model.shape == (9, 5, 3)
    back = from_model_rgb(model, document)
    assert (back.array.dtype, back.array.shape) == (array.dtype, array.shape)
    assert (back.color_space, back.icc_profile) == (space, icc)
    if channels == 4:
        assert (back.array[..., 3] == array[..., 3]).all(), "alpha never passes through the model"
    if dtype == "uint8" and space is not ColorSpace.LINEAR_REC709:
        assert (back.array == array).all()
    # Half a code of 16 bit; of half precision its own rounding.
    tolerance = 1e-3 if dtype == "float16" else 1.2e-5 if dtype != "uint8" else 2e-3
    assert to_unit(back.array) == pytest.approx(to_unit(array), abs=tolerance)


def test_the_srgb_curve():
    """Reference values of IEC 61966-2-1."""
    codes = np.array([0, 10, 55, 128, 188, 255]) / 255
    light = [0.0, 0.0030353, 0.0382044, 0.2158605, 0.5028865, 1.0]
    assert srgb_to_linear(codes) == pytest.approx(light, abs=1e-6)
    assert linear_to_srgb(light) == pytest.approx(codes, abs=1e-6)


def test_bright_light_is_clipped_for_the_model_alone():
    document = Pixels(np.full((2, 2, 3), 7.5, np.float16), ColorSpace.LINEAR_REC709)
    assert (to_model_rgb(document) == 1).all()


def test_icc_agrees_with_littlecms():
    """A wide-gamut profile by our float arithmetic and by LittleCMS in 8 bit: within one code."""
    array = np.random.default_rng(3).integers(60, 200, (16, 16, 3), np.uint8)
    adobe = profile("adobe")
    ours = (to_model_rgb(Pixels(array, ColorSpace.ICC, adobe)) * 255).round()
    theirs = ImageCms.profileToProfile(
        Image.fromarray(array),
        ImageCms.ImageCmsProfile(io.BytesIO(adobe)),
        ImageCms.createProfile("sRGB"),
    )
    assert np.abs(ours - np.asarray(theirs, float)).max() <= 1
    assert np.abs(ours - array).mean() > 2, "the profile makes a difference"


@pytest.mark.parametrize(
    ("icc", "channels", "words"),
    [(b"nonsense", 3, "cannot be read"), (profile("grey"), 3, "for GRAY pictures")],
    ids=["broken", "wrong channels"],
)
def test_unusable_profiles_get_a_sentence(icc, channels, words):
    with pytest.raises(InvalidRequest, match=words):
        to_model_rgb(Pixels(np.zeros((2, 2, channels), np.uint8), ColorSpace.ICC, icc))
