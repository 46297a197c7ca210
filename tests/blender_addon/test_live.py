"""What goes out while painting live, without a server."""

from __future__ import annotations

import numpy as np
import pytest

from blender_addon.bridge.live import LiveWish, fitted, reduced
from blender_addon.bridge.pictures import Source
from blender_addon.bridge.request import Options


@pytest.mark.parametrize(
    ("width", "height", "longest", "expected"),
    [
        pytest.param(100, 50, 512, (100, 50), id="never enlarged"),
        pytest.param(2048, 1024, 512, (512, 256), id="halves"),
        pytest.param(1000, 3, 100, (100, 1), id="a strip keeps a px"),
        pytest.param(300, 200, 150, (150, 100), id="portions"),
    ],
)
def test_the_longest_side_decides(
    width: int, height: int, longest: int, expected: tuple[int, int]
) -> None:
    assert fitted(width, height, longest) == expected


def test_each_px_is_the_mean_of_those_it_stands_for() -> None:
    rows = np.random.default_rng(0).random((7, 10, 4)).astype(np.float32)
    small = reduced(Source(flat=rows.ravel(), width=10, height=7), 5)
    assert (small.width, small.height) == (5, 4)
    found = small.flat.reshape(4, 5, 4)
    # 7 rows on 4: rows 0, 1..2, 3..4, 5..6.
    assert np.allclose(found[0, 0], rows[0:1, 0:2].mean(axis=(0, 1)), atol=1e-6)
    assert np.allclose(found[3, 4], rows[5:7, 8:10].mean(axis=(0, 1)), atol=1e-6)
    same = Source(flat=rows.ravel(), width=10, height=7)
    assert reduced(same, 10) is same


def test_a_live_wish_has_its_own_steps_and_one_picture() -> None:
    options = Options(count=4, num_inference_steps=40, style="watercolour")
    wish = LiveWish("moss", 0.4, seed=3, steps=1, seamless="xy", options=options)
    settings = wish.to_client()
    assert (settings.count, settings.num_inference_steps, settings.seed) == (1, 1, 3)
    assert (settings.style, settings.seamless, settings.strength) == ("watercolour", "xy", 0.4)
    assert LiveWish("moss", 0.4, seed=3).to_client().num_inference_steps is None
