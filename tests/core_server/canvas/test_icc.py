"""ICC profiles of every kind, sound and broken."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from core_server.canvas.icc import (
    MAX_PROFILE_BYTES,
    check_profile,
    icc_to_srgb,
    srgb_profile,
    srgb_to_icc,
)
from core_server.errors import InvalidRequest
from tests.core_server.canvas import profiles

SOUND = {
    "srgb": profiles.srgb,
    "adobe": profiles.matrix,
    "p3": profiles.p3,
    "table": profiles.table,
}


def colours(low: float = 0.0, high: float = 1.0) -> np.ndarray:
    return np.random.default_rng(5).uniform(low, high, (40, 7, 3)).astype(np.float32)


@pytest.mark.parametrize("name", SOUND)
def test_agrees_with_littlecms_in_8_bit(name):
    profile = SOUND[name]()
    codes = (colours(0.25, 0.75) * 255).round().astype(np.uint8)
    ours = icc_to_srgb(codes.astype(np.float32) / 255, profile)
    theirs = ImageCms.profileToProfile(
        Image.fromarray(codes),
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    difference = np.abs(ours.clip(0, 1) * 255 - np.asarray(theirs, float))
    assert difference.mean() < 0.6
    assert difference.max() <= (6 if name == "table" else 1.5), (
        "8 bit merges tables into a coarse one"
    )
    if name != "srgb":
        assert np.abs(ours * 255 - codes).mean() > 2, "the profile makes a difference"


@pytest.mark.parametrize("name", ["srgb", "adobe", "p3"])
def test_there_and_back_in_float_is_far_finer_than_16_bit(name):
    """Colours outside sRGB survive, too: nothing is clipped in between."""
    values, profile = colours(0.02), SOUND[name]()
    back = srgb_to_icc(icc_to_srgb(values, profile), profile, 3)
    assert np.abs(back - values).max() < 0.1 / 65535


def test_known_colours():
    """Display P3's green in sRGB (CSS Color 4, sample conversions): (-0.5116, 1.01827, -0.3107)."""
    green = icc_to_srgb(np.array([[[0, 1, 0]]], np.float32), profiles.p3())
    red, full, blue = green[0, 0]
    assert full == pytest.approx(1.0183, abs=2e-3)
    assert red < -0.5
    assert blue < -0.3


def test_grey():
    ramp = np.linspace(0, 1, 21, dtype=np.float32).reshape(3, 7, 1)
    rgb = icc_to_srgb(ramp, profiles.grey())
    assert rgb.shape == (3, 7, 3)
    assert np.ptp(rgb, axis=2).max() < 1e-4
    assert np.abs(srgb_to_icc(rgb, profiles.grey(), 1) - ramp).max() < 1e-5


def test_a_large_picture_is_converted_as_a_small_one():
    """In bands and threads, with the same result."""
    values = np.random.default_rng(2).random((300, 5, 3), np.float32)
    whole = icc_to_srgb(values, profiles.matrix())
    rows = [icc_to_srgb(row[None], profiles.matrix())[0] for row in values]
    assert (whole == np.stack(rows)).all()


@pytest.mark.parametrize("name", profiles.BROKEN)
def test_broken_profiles_get_a_sentence(name):
    with pytest.raises(InvalidRequest, match="cannot be read; convert the document to sRGB"):
        icc_to_srgb(colours(), profiles.BROKEN[name]())


@pytest.mark.parametrize(
    ("profile", "channels", "words"),
    [
        (profiles.assembled("CMYK", {}), 3, "for CMYK pictures but this one is RGB"),
        (profiles.assembled("Lab ", {}), 3, "for Lab pictures"),
        (profiles.grey(), 3, "for GRAY pictures but this one is RGB"),
        (profiles.matrix(), 1, "for RGB pictures but this one is grey"),
        (profiles.assembled("RGB ", {}, kind="link"), 3, "class link, which describes no picture"),
        (profiles.assembled("RGB ", {}, kind="nmcl"), 3, "class nmcl"),
        (profiles.srgb() + bytes(MAX_PROFILE_BYTES), 3, "at most 4194304"),
    ],
    ids=["CMYK", "Lab", "grey for RGB", "RGB for grey", "device link", "named", "too large"],
)
def test_profiles_of_other_kinds_get_a_sentence(profile, channels, words):
    with pytest.raises(InvalidRequest, match=words):
        check_profile(profile, channels)


@pytest.mark.parametrize("name", [*SOUND, "grey"])
def test_sound_profiles_pass_the_check(name):
    if name == "grey":
        check_profile(profiles.grey(), 1)
    else:
        check_profile(SOUND[name](), 3)
        check_profile(SOUND[name](), 4)
    check_profile(srgb_profile(), 3)
