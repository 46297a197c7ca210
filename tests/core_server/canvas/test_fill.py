"""The fills: what they put under the mask, and that they touch nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from core_server.canvas.fill import fill
from core_server.canvas.plan import FillMode

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
