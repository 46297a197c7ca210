"""Published values of the colour spaces and of CIEDE2000."""

from __future__ import annotations

import numpy as np
import pytest

from core_server.canvas.perceptual import (
    cielab_difference,
    delta_e_2000,
    oklab_to_srgb,
    srgb_to_cielab,
    srgb_to_oklab,
)

SHARMA = [
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
    ((50, 3.1571, -77.2803), (50, 0, -82.7485), 2.8615),
    ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0),
    ((50, 0, 0), (50, -1, 2), 2.3669),
    ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
    ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
    ((50, -0.001, 2.49), (50, 0.0009, -2.49), 4.8045),
    ((50, -0.001, 2.49), (50, 0.0011, -2.49), 4.7461),
    ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
    ((50, 2.5, 0), (73, 25, -18), 27.1492),
    ((50, 2.5, 0), (56, -27, -3), 31.9030),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]
"""Sharma, Wu, Dalal 2005, table 1; the pairs that wrong implementations miss."""


@pytest.mark.parametrize(("first", "second", "expected"), SHARMA)
def test_the_authors_data(first, second, expected):
    for pair in ((first, second), (second, first)):
        found = float(cielab_difference(*map(np.asarray, pair)))
        assert found == pytest.approx(expected, abs=5e-5)


def test_oklab():
    """Ottosson's own reference: white is (1, 0, 0), sRGB red (0.6280, 0.2249, 0.1258)."""
    colours = np.array([[1, 1, 1], [1, 0, 0]], np.float32)
    expected = np.array([[1, 0, 0], [0.6280, 0.2249, 0.1258]])
    assert srgb_to_oklab(colours) == pytest.approx(expected, abs=1e-4)
    many = np.random.default_rng(4).random((500, 3), np.float32)
    assert oklab_to_srgb(srgb_to_oklab(many)) == pytest.approx(many, abs=2e-6)


def test_cielab():
    """sRGB red is (53.24, 80.09, 67.20); a colour differs by nothing from itself."""
    assert srgb_to_cielab([1, 0, 0]) == pytest.approx([53.24, 80.09, 67.20], abs=0.02)
    many = np.random.default_rng(4).random((500, 3), np.float32)
    assert not delta_e_2000(many, many).any()
