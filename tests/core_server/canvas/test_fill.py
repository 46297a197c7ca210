"""The fills: what they put under the mask, and that they touch nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core_server.canvas.fill import fill
from core_server.canvas.plan import FillMode, SeamlessAxes, wraps

MODES = [mode for mode in FillMode if mode is not FillMode.AUTO]


@pytest.fixture
def picture():
    """Left half dark red, right half light blue, noise in between; and a hole across the border."""
    rng = np.random.default_rng(5)
    image = np.empty((60, 80, 3), np.float32)
    image[:, :40], image[:, 40:] = (0.3, 0.1, 0.1), (0.6, 0.7, 0.9)
    image += rng.random(image.shape, np.float32) * 0.05
    mask = np.zeros((60, 80), np.float32)
    mask[20:45, 25:60] = 1
    return image, mask


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_only_the_hole_changes(picture, mode):
    image, mask = picture
    marked = image.copy()
    marked[mask > 0] = (1, 0, 1)
    filled = fill(marked, mask, mode)
    assert filled.dtype == np.float32
    assert (filled[mask == 0] == image[mask == 0]).all()
    if mode is not FillMode.NONE:
        assert not (filled[mask > 0] == (1, 0, 1)).all(axis=-1).any(), "the old content is gone"
        assert filled.min() >= 0
        assert filled.max() <= 1


@pytest.mark.parametrize("mode", [FillMode.BLUR, FillMode.BORDER, FillMode.STRUCTURE], ids=str)
def test_surroundings_flow_in(picture, mode):
    image, mask = picture
    filled = fill(image * (mask == 0)[..., None], mask, mode)
    assert filled[32, 27] == pytest.approx([0.32, 0.12, 0.12], abs=0.12)
    assert filled[32, 57] == pytest.approx([0.62, 0.72, 0.92], abs=0.12)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_no_surroundings(mode):
    image = np.full((8, 8, 3), 0.9, np.float32)
    filled = fill(image, np.ones((8, 8), np.float32), mode)
    assert (filled == (0.9 if mode is FillMode.NONE else 0.5)).all() or mode is FillMode.NONE


def test_soft_edges_mix(picture):
    image, mask = picture
    half = fill(image, mask * 0.5, FillMode.NEUTRAL)
    inside = mask > 0
    assert half[inside] == pytest.approx((image[inside] + 0.5) / 2, abs=1e-6)


@pytest.mark.parametrize("mode", [FillMode.BLUR, FillMode.BORDER, FillMode.STRUCTURE], ids=str)
@pytest.mark.parametrize("axes", [SeamlessAxes.X, SeamlessAxes.Y, SeamlessAxes.XY], ids=str)
def test_on_a_tile_the_surroundings_go_on_at_the_other_side(mode, axes):
    """Rolling the tile rolls the fill."""
    noise = np.random.default_rng(2).random((64, 64, 3), np.float32)
    shifts = [(y, x) for y in range(-2, 3) for x in range(-2, 3)]
    tile = np.mean([np.roll(noise, shift, (0, 1)) for shift in shifts], axis=0, dtype=np.float32)
    mask = np.zeros((64, 64), np.float32)
    mask[24:40, 20:44] = 1
    shift = (32 * wraps(axes, 0), 32 * wraps(axes, 1))
    inside = fill(tile, mask, mode, axes)
    across = fill(np.roll(tile, shift, (0, 1)), np.roll(mask, shift, (0, 1)), mode, axes)
    assert (np.roll(inside, shift, (0, 1)) == across).all()


@pytest.mark.parametrize("mode", [FillMode.BLUR, FillMode.BORDER, FillMode.STRUCTURE], ids=str)
@pytest.mark.parametrize("axis", [0, 1])
def test_a_hole_that_goes_all_around_has_no_ends(mode, axis):
    """A tile grown along one axis, as outpainting does it: the fill repeats along the other."""
    rng = np.random.default_rng(3)
    wave = 0.5 + 0.3 * np.sin(np.arange(96) * 2 * np.pi / 96 + 1)
    image = np.repeat(wave[:, None, None], 120, 1).repeat(3, 2)
    image = (image + rng.random(image.shape) * 0.02).astype(np.float32)
    mask = np.zeros((96, 120), np.float32)
    mask[:, 80:] = 1
    filled = fill(image, mask, mode, SeamlessAxes.XY)[:, 80:]
    if axis == 1:
        image, mask = image.transpose(1, 0, 2).copy(), mask.T.copy()
        filled = fill(image, mask, mode, SeamlessAxes.XY)[80:].transpose(1, 0, 2)
    steps = np.abs(filled - np.roll(filled, 1, 0)).mean((1, 2))
    assert steps[0] <= 1.2 * np.sort(steps)[-3]


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 48),
    st.integers(1, 48),
    st.sampled_from(MODES),
    st.sampled_from(SeamlessAxes),
    st.integers(0, 2**32 - 1),
)
def test_any_hole_is_filled_with_numbers_of_the_picture(height, width, mode, axes, seed):
    rng = np.random.default_rng(seed)
    image = rng.uniform(0.2, 0.7, (height, width, 3)).astype(np.float32)
    mask = np.zeros((height, width), np.float32)
    top, left = rng.integers(0, height), rng.integers(0, width)
    rows = np.arange(top, top + rng.integers(1, height + 1)) % height
    columns = np.arange(left, left + rng.integers(1, width + 1)) % width
    mask[rows[:, None], columns] = rng.choice([0.3, 1.0])
    filled = fill(image, mask, mode, axes)
    assert filled.shape == image.shape
    assert filled.dtype == np.float32
    assert (filled[mask == 0] == image[mask == 0]).all()
    assert np.isfinite(filled).all()
    assert 0 <= filled.min() <= filled.max() <= 1
    if mode in (FillMode.BLUR, FillMode.BORDER):
        assert 0.19 < filled.min() <= filled.max() < 0.71, "nothing but what is around it"


@pytest.mark.parametrize("mode", [FillMode.BLUR, FillMode.BORDER, FillMode.STRUCTURE], ids=str)
def test_large_holes_are_worked_out_small(mode):
    """At reduced size the surroundings still flow in at the right places."""
    y, x = np.mgrid[0:1100, 0:1200].astype(np.float32)
    image = np.stack([x / 1200, y / 1100, (x + y) / 2300], axis=2)
    mask = np.zeros((1100, 1200), np.float32)
    mask[400:800, 300:800] = 1
    filled = fill(image * (mask == 0)[..., None], mask, mode)
    rim = np.s_[405:795:50, 305]
    assert np.abs(filled[rim] - image[rim]).max() < 0.1
