"""The patch in the colours of its surroundings, judged by what the model did to them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core_server.canvas.colour_match import MAX_GAIN, match_colours
from core_server.canvas.perceptual import delta_e_2000, oklab_to_srgb, srgb_to_oklab

FLAT = np.full((96, 128, 3), [0.5, 0.42, 0.35], np.float32)
ROWS, COLUMNS = np.mgrid[0:96, 0:128].astype(np.float32)
GRADIENT = np.stack([0.2 + COLUMNS / 220, 0.3 + ROWS / 200, 0.5 - COLUMNS / 400], axis=-1)
TEXTURE = np.clip(FLAT + np.random.default_rng(1).normal(0, 0.06, FLAT.shape), 0, 1)
PICTURES = {"flat": FLAT, "gradient": GRADIENT, "texture": TEXTURE.astype(np.float32)}
MASKED = np.hypot(COLUMNS - 64, ROWS - 48) < 30


def shifted(picture, shift=(0.03, 0.012, -0.01), gain=0.9):
    """What an autoencoder does: a little lighter, warmer and flatter, inside the mask and outside."""
    lab = srgb_to_oklab(picture)
    mean = lab.mean(axis=(0, 1))
    return np.clip(oklab_to_srgb((lab - mean) * gain + mean + np.float32(shift)), 0, 1)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(PICTURES)), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_a_model_that_keeps_the_surroundings_keeps_its_patch_bit_for_bit(name, strength, seed):
    painted = PICTURES[name].copy()
    painted[MASKED] = np.random.default_rng(seed).random((int(MASKED.sum()), 3), np.float32)
    matched, match = match_colours(painted, PICTURES[name], MASKED, strength)
    assert matched.tobytes() == painted.tobytes()
    assert match.shift == (0, 0, 0)
    assert match.gain == (1, 1, 1)


@pytest.mark.parametrize("name", PICTURES)
def test_the_shift_of_a_model_is_taken_back(name):
    picture = PICTURES[name]
    painted = shifted(picture)
    before = delta_e_2000(painted, picture)[MASKED].mean()
    matched, match = match_colours(painted, picture, MASKED)
    after = delta_e_2000(matched, picture)[MASKED].mean()
    assert before > 2.5
    assert after < 0.7
    assert match.pixels > 1000
    assert match.recipe()["strength"] == 1.0


def test_nothing_under_the_mask_counts():
    """However wild the patch, the correction is that of the surroundings."""
    painted = shifted(GRADIENT)
    calm = match_colours(painted, GRADIENT, MASKED)[1]
    wild = painted.copy()
    wild[MASKED] = [1.0, 0.0, 1.0]
    assert match_colours(wild, GRADIENT, MASKED)[1] == calm


def test_flat_surroundings_do_not_flatten_or_inflate_the_patch():
    """Two noises have a ratio, but none that means anything."""
    rng = np.random.default_rng(3)
    for noise_seen, noise_painted in ((0.0, 0.004), (0.004, 0.0), (0.0, 0.0)):
        seen = FLAT + rng.normal(0, 1, FLAT.shape).astype(np.float32) * np.float32(noise_seen)
        painted = FLAT + rng.normal(0, 1, FLAT.shape).astype(np.float32) * np.float32(noise_painted)
        _, match = match_colours(painted, seen, MASKED)
        assert match.gain == pytest.approx((1, 1, 1), abs=0.06)


def test_strength_is_a_share():
    painted = shifted(FLAT)
    whole, _ = match_colours(painted, FLAT, MASKED, 1.0)
    half, _ = match_colours(painted, FLAT, MASKED, 0.5)
    assert half == pytest.approx((painted + whole) / 2, abs=1e-6)


def test_the_gain_is_bounded():
    dull = shifted(TEXTURE.astype(np.float32), gain=0.2)
    _, match = match_colours(dull, TEXTURE.astype(np.float32), MASKED)
    assert max(match.gain) == pytest.approx(MAX_GAIN)


@pytest.mark.parametrize(
    ("painted", "masked", "strength", "reason"),
    [
        (shifted(FLAT), np.ones_like(MASKED), 1.0, "no surroundings"),
        (FLAT[..., ::-1] * [0.2, 2, 0.4], MASKED, 1.0, "painted the surroundings anew"),
        (shifted(FLAT), MASKED, 0.0, "switched off"),
    ],
    ids=["all masked", "an edit", "off"],
)
def test_where_it_makes_no_sense_it_is_off_and_says_so(painted, masked, strength, reason):
    matched, match = match_colours(painted, FLAT, masked, strength)
    assert matched is painted
    assert match.recipe()["strength"] == 0
    assert reason in match.recipe()["reason"]
