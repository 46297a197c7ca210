"""Membranes and harmonised edges: what is known stays, what continues it is smooth, and texture is kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core_server.canvas.harmony import MOST, harmonise
from core_server.canvas.membrane import membrane, rim_of
from core_server.canvas.plan import SeamlessAxes

SIDE = 192
ROWS, COLUMNS = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
GREY = np.full((SIDE, SIDE, 3), 0.5, np.float32)
GRADIENT = np.repeat((0.3 + 0.4 * COLUMNS / SIDE)[..., None], 3, axis=2).astype(np.float32)
NOISE = np.random.default_rng(3).normal(0, 0.02, (SIDE, SIDE, 3)).astype(np.float32)


def soft_square(left: int = 64) -> np.ndarray:
    """1 in a square of 64 px, 0 from 24 px around it on; it may reach across the border."""
    x = np.abs((COLUMNS - left - 31.5 + SIDE / 2) % SIDE - SIDE / 2)
    y = np.abs(ROWS - SIDE / 2)
    away = np.maximum(np.maximum(x, y) - 32, 0)
    return np.clip(1 - away / 24, 0, 1).astype(np.float32)


MASK = soft_square()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32), st.floats(0.05, 1))
def test_a_membrane_keeps_what_is_known_and_stays_within_it(height, width, seed, share):
    random = np.random.default_rng(seed)
    known = random.random((height, width)) < share
    known[random.integers(height), random.integers(width)] = True
    values = random.random((height, width, 2)).astype(np.float32)
    field = membrane(values, known)
    assert (field[known] == values[known]).all()
    assert field.min() >= values[known].min() - 1e-5
    assert field.max() <= values[known].max() + 1e-5


def test_a_membrane_between_two_walls_is_the_straight_line():
    known = np.zeros((20, 65), bool)
    known[:, [0, 64]] = True
    values = np.zeros((20, 65, 1), np.float32)
    values[:, 64] = 1
    assert np.abs(membrane(values, known)[..., 0] - np.linspace(0, 1, 65)).max() < 0.04


def test_a_rim_touches_from_outside():
    inner = np.zeros((5, 5), bool)
    inner[2, 2] = True
    assert np.argwhere(rim_of(inner)).tolist() == [[1, 2], [2, 1], [2, 3], [3, 2]]


@pytest.mark.parametrize("surroundings", [GREY, GRADIENT], ids=["flat", "gradient"])
def test_a_patch_of_another_brightness_begins_with_its_surroundings(surroundings):
    newness = np.clip(
        (MASK[..., None] - 0.4) / 0.4, 0, 1
    )  # a differential mask lets go at some value
    painted = surroundings + newness * (0.7 + NOISE - surroundings)
    result = harmonise(painted, surroundings, MASK, reach=60)
    assert (result[MASK == 0] == painted[MASK == 0]).all()
    middle = np.s_[92:100, 92:100]
    assert np.abs(result - painted)[middle].max() < 0.02, "in the middle it is what was painted"
    row = result[80:112].mean(axis=(0, 2))
    before = painted[80:112].mean(axis=(0, 2))
    assert np.abs(np.diff(row)).max() < 0.75 * np.abs(np.diff(before)).max()
    grain = (result - painted)[80:112]
    assert np.abs(np.diff(grain, axis=0)).max() < 0.01, "its texture stays"


def test_what_the_model_left_alone_stays_bit_for_bit():
    picture = GRADIENT + NOISE
    assert harmonise(picture, picture, MASK, reach=60) is picture
    painted = picture + np.float32(0.1)
    assert harmonise(painted, picture, MASK, reach=60, strength=0) is painted
    everywhere = np.ones((SIDE, SIDE), np.float32)
    assert harmonise(painted, picture, everywhere, reach=60) is painted


def test_the_correction_is_bounded_and_less_for_a_texture_of_two_colours():
    black, white = np.zeros_like(GREY), np.ones_like(GREY)
    change = harmonise(white, black, MASK, reach=60) - white
    assert np.linalg.norm(change, axis=2).max() <= MOST + 1e-3
    stripes = white * (COLUMNS // 4 % 2)[..., None]
    assert harmonise(stripes, GREY, MASK, reach=60) == pytest.approx(stripes, abs=0.02)


@pytest.mark.parametrize("by", [0, 96, 130])
def test_a_tile_is_harmonised_as_one(by):
    """The same patch elsewhere on the tile, also across its border, is changed in the same way."""
    painted = np.roll(GREY + MASK[..., None] * np.float32(0.2), by, axis=1)
    result = harmonise(painted, GREY, np.roll(MASK, by, axis=1), reach=60, seamless=SeamlessAxes.X)
    still = harmonise(GREY + MASK[..., None] * np.float32(0.2), GREY, MASK, reach=60)
    assert np.roll(result, -by, axis=1) == pytest.approx(still, abs=0.004)
