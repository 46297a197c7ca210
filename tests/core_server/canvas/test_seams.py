"""The seam ratio: no seam where there is none, whatever lies on the border; one where there is one."""

from __future__ import annotations

import numpy as np
import pytest

from core_server.canvas.geometry import Bounds, Extent
from core_server.canvas.masks import read_wrapped
from core_server.canvas.plan import CanvasIntent, CanvasPlan, FillMode, SeamlessAxes
from core_server.canvas.seams import as_recipe, border_seams, mean_ratio, seams

SIDE = 96
NOISE = np.random.default_rng(5).uniform(0.4, 0.6, (SIDE, SIDE, 3))


def joints(period: int) -> np.ndarray:
    """A noisy tile with dark joints, one of them on the border."""
    tile = NOISE.copy()
    tile[:, np.arange(SIDE) % period == 0] = 0.1
    return tile


def grain(power: float) -> np.ndarray:
    """Noise whose spectrum falls with the given power of the frequency: 0 is white, 2 is clouds. Periodic."""
    rng = np.random.default_rng(int(power * 10))
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE)))
    radius[0, 0] = np.inf
    planes = [
        np.fft.ifft2(np.fft.fft2(rng.normal(size=(SIDE, SIDE))) / radius**power).real
        for _ in range(3)
    ]
    tile = np.stack(planes, axis=2)
    return 0.5 + 0.12 * tile / tile.std()


TILES = {
    "white noise": grain(0),
    "grain": grain(1),
    "clouds": grain(2),
    "joints": joints(12),
    "joints in clouds": np.where(joints(16) < 0.2, 0.1, grain(1.5)),
    "a lively half": 0.5 + (NOISE - 0.5) * (np.arange(SIDE) < SIDE // 2)[:, None],
}


@pytest.mark.parametrize("name", TILES)
def test_wherever_a_tile_begins_it_has_no_seam(name):
    """All rolls: the ratio is 1 on average, and what stands out is chance."""
    tile = TILES[name].astype(np.float32)
    found = [
        seam
        for shift in range(SIDE)
        for seam in seams(np.roll(tile, (shift, shift), (0, 1))).values()
    ]
    assert mean_ratio(found) == pytest.approx(1, abs=0.02)
    assert np.mean([seam.shows for seam in found]) <= 0.05


@pytest.mark.parametrize(
    ("name", "levels"),
    [("clouds", 4), ("grain", 24), ("joints", 16), ("white noise", 40), ("a lively half", 30)],
)
def test_a_true_seam_is_found_wherever_it_lies(name, levels):
    """A ramp across the tile: nothing inside changes visibly, and the border has a step of so many grey levels."""
    tile = TILES[name]
    ramp = (np.arange(SIDE) / SIDE - 0.5)[None, :, None] * levels / 255
    found = [
        seams((np.roll(tile, (shift, shift), (0, 1)) + ramp).astype(np.float32))
        for shift in range(0, SIDE, 2)
    ]
    assert np.mean([it["x"].shows for it in found]) >= 0.9
    assert mean_ratio(it["y"] for it in found) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
def test_a_joint_on_the_border_is_no_seam(dtype):
    full = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    tile = (joints(12) * full).astype(dtype)
    found = seams(tile)
    assert found["x"].plain > 2
    assert [found[axis].ratio for axis in "xy"] == pytest.approx([1, 1], abs=0.1)


def test_a_recipe_tells_of_the_axes_that_tile():
    assert set(seams(NOISE, SeamlessAxes.Y)) == {"y"}
    assert as_recipe(seams(NOISE, SeamlessAxes.NONE)) == {}
    told = as_recipe(seams(NOISE, SeamlessAxes.X))
    assert set(told) == {"seam_ratio", "seam_ratio_inside"}
    assert all(set(values) == {"x"} for values in told.values())


@pytest.mark.parametrize("extent", [(1, 1), (1, 9), (13, 2), (14, 14), (28, 40)], ids=str)
def test_pictures_of_few_lines_have_a_ratio(extent):
    plain = np.full((*extent, 1), 0.5, np.float32)
    assert {name: seam.ratio for name, seam in seams(plain).items()} == {"x": 1.0, "y": 1.0}
    found = seams(np.random.default_rng(1).random((*extent, 3)))
    assert np.isfinite([(seam.ratio, seam.inside) for seam in found.values()]).all()


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
    found = border_seams(read_wrapped(smooth, context), plan(context, axes))
    assert set(found) == names
    assert all(seam.ratio == pytest.approx(1, abs=0.2) for seam in found.values())
    assert not any(seam.shows for seam in found.values())
    smooth += np.linspace(0, 0.2, 96, dtype=np.float32)[None, :, None]
    found = border_seams(read_wrapped(smooth, context), plan(context, axes))
    assert all(seam.ratio > 5 and seam.shows for name, seam in found.items() if name == "x")
    assert all(seam.ratio < 1.2 for name, seam in found.items() if name == "y")
