"""Light above white, there and back."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core_server.canvas.tone import KNEE, ToneCurve

PEAKS = st.floats(1.001, 65504) | st.sampled_from([1.01, 16.0, 65504.0, 3e38])


@settings(deadline=None)
@given(PEAKS, st.integers(0, 2**32 - 1))
def test_there_and_back_in_single_precision(peak, seed):
    """Far within half precision's 2**-11, over all of its range, with negative components as wide gamuts have them."""
    rng = np.random.default_rng(seed)
    curve = ToneCurve.for_peak(peak)
    assert curve is not None
    light = np.exp(rng.uniform(np.log(1e-4), np.log(peak), (8, 8, 3)))
    light[0, 0] = [peak, peak / 2, -0.1]
    shown = curve.compress(light).astype(np.float32)
    assert shown.max() <= 1 + 1e-6
    error = np.abs(curve.expand(shown) - light).max(axis=2)
    assert (error <= 5e-5 * light.max(axis=2)).all()


@pytest.mark.parametrize("peak", [0.2, 1.0, 1 + 1e-9])
def test_where_nothing_is_above_white_there_is_no_curve(peak):
    assert ToneCurve.for_peak(peak) is None


@settings(deadline=None)
@given(PEAKS)
def test_the_curve(peak):
    """Below the knee nothing changes, at the knee there is no corner, the peak becomes 1, brighter stays brighter."""
    curve = ToneCurve.for_peak(peak)
    assert curve is not None

    def f(x):
        return float(curve.compress(np.full((1, 1, 3), x))[0, 0, 0])

    assert f(0.1) == 0.1
    assert f(KNEE) == KNEE
    step = min(1e-6, (peak - KNEE) / 1e3)
    assert (f(KNEE + step) - f(KNEE)) / step == pytest.approx(1, abs=1e-3)
    assert f(peak) == pytest.approx(1, abs=1e-6)
    values = [f(x) for x in np.linspace(0, peak, 50)]
    assert all(low < high for low, high in pairwise(values))


def test_hue_and_saturation_stay():
    curve = ToneCurve.for_peak(1000.0)
    sun = np.array([[[1000.0, 500.0, 100.0]]])
    shown = curve.compress(sun)[0, 0]
    assert shown == pytest.approx([1.0, 0.5, 0.1])
