"""The seam ratio: no seam where there is none, whatever lies on the border; one where there is one."""

from __future__ import annotations

import numpy as np
import pytest

from core_server.canvas.geometry import Bounds, Extent
from core_server.canvas.masks import read_wrapped
from core_server.canvas.plan import CanvasIntent, CanvasPlan, FillMode, SeamlessAxes
from core_server.canvas.seams import border_ratios, seam_ratios, seams

NOISE = np.random.default_rng(5).uniform(0.4, 0.6, (96, 96, 3))


def joints(period: int) -> np.ndarray:
    """A noisy tile with dark joints, one of them on the border."""
    tile = NOISE.copy()
    tile[:, np.arange(96) % period == 0] = 0.1
    return tile


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
def test_a_joint_on_the_border_is_no_seam(dtype):
    full = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    tile = (joints(12) * full).astype(dtype)
    assert seams(tile)["x"].plain > 2
    assert seam_ratios(tile) == {"x": pytest.approx(1, abs=0.1), "y": pytest.approx(1, abs=0.1)}


def test_a_seam_is_one():
    smooth = 0.5 + (NOISE - 0.5) * 0.05
    smooth += np.linspace(0, 0.2, 96)[None, :, None]
    found = seams(smooth.astype(np.float32))
    assert found["x"].ratio > 5
    assert found["x"].worst
    assert found["y"].ratio == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("extent", [(1, 1), (1, 9), (13, 2), (14, 14)], ids=str)
def test_pictures_of_few_lines_have_a_ratio(extent):
    plain = np.full((*extent, 1), 0.5, np.float32)
    assert seam_ratios(plain) == {"x": 1.0, "y": 1.0}
    assert np.isfinite(
        list(seam_ratios(np.random.default_rng(1).random((*extent, 3))).values())
    ).all()


def plan(context: Bounds, axes: SeamlessAxes) -> CanvasPlan:
    inner = Bounds(context.x + 10, context.y + 10, 20, 20)
    return CanvasPlan(
        document=Extent(96, 96), selection=inner, mask=inner, context=context, model=context.extent,
        grow=0, feather=0, blend=0, exact_selection=True, fill=FillMode.NONE,
        intent=CanvasIntent.REFINE, passes=1, seamless=axes,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("context", "axes", "names"),
    [
        (Bounds(-20, 8, 64, 64), SeamlessAxes.XY, {"x"}),
        (Bounds(70, 40, 60, 90), SeamlessAxes.XY, {"x", "y"}),
        (Bounds(-20, 0, 96, 96), SeamlessAxes.X, {"x"}),
        (Bounds(10, 10, 64, 64), SeamlessAxes.XY, set()),
        (Bounds(0, 0, 96, 96), SeamlessAxes.NONE, set()),
    ],
    ids=str,
)
def test_a_context_across_the_border_tells_of_it(context, axes, names):
    smooth = (0.5 + (NOISE - 0.5) * 0.05).astype(np.float32)
    found = border_ratios(read_wrapped(smooth, context), plan(context, axes))
    assert set(found) == names
    assert all(ratio == pytest.approx(1, abs=0.2) for ratio in found.values())
    smooth += np.linspace(0, 0.2, 96, dtype=np.float32)[None, :, None]
    found = border_ratios(read_wrapped(smooth, context), plan(context, axes))
    assert all(ratio > 5 for name, ratio in found.items() if name == "x")
    assert all(ratio < 1.2 for name, ratio in found.items() if name == "y")
