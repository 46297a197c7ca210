"""Outpainting's geometry: the increments cover exactly what is added, and every one has a picture to go on from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core_server.canvas.geometry import Bounds, Extent
from core_server.canvas.growth import Sides, grown, increments, tiling_sides
from core_server.canvas.joint import feather_joint
from core_server.canvas.plan import SeamlessAxes, wraps

SIDES = st.builds(Sides, *[st.just(0) | st.integers(0, 90)] * 4)


@settings(max_examples=500, deadline=None)
@given(
    st.builds(Extent, st.integers(1, 60), st.integers(1, 60)),
    SIDES,
    st.integers(1, 70),
    st.sampled_from(SeamlessAxes),
    st.booleans(),
)
def test_increments_cover_what_is_added_once(extent, sides, depth, axes, fits):
    there = tiling_sides(sides, axes)
    whole = grown(extent, there)
    assert whole.extent == grown(extent, sides).extent
    covered = np.zeros((whole.height, whole.width), int)
    covered[Bounds(there.left, there.top, *extent).slices] = 1
    picture = Bounds(0, 0, *extent)
    for step in increments(extent, sides, depth, axes, fits=fits):
        assert step.before == picture
        assert step.picture.contains(picture)
        assert step.picture.contains(step.added)
        assert step.picture.extent != picture.extent
        grew = Sides(
            picture.x - step.picture.x,
            step.picture.right - picture.right,
            picture.y - step.picture.y,
            step.picture.bottom - picture.bottom,
        )
        assert 0 <= min(grew) <= max(grew) <= depth
        assert fits or sum(map(bool, grew)) == 1
        new = np.zeros_like(covered)
        new[step.added.moved(there.left, there.top).slices] = 1
        new[picture.moved(there.left, there.top).slices] = 0
        covered += new
        for axis, side in ((0, "height"), (1, "width")):
            complete = getattr(step.picture, side) == getattr(whole, side)
            assert wraps(step.seamless, axis) == (wraps(axes, axis) and complete)
        picture = step.picture
    assert picture == whole
    assert (covered == 1).all()


def test_a_tile_grows_into_one_gap():
    assert tiling_sides(Sides(3, 4, 5, 6), SeamlessAxes.XY) == (0, 7, 0, 11)
    (step,) = increments(Extent(10, 10), Sides(3, 4, 0, 0), 9, SeamlessAxes.X)
    assert step == (
        Bounds(0, 0, 17, 10), Bounds(0, 0, 10, 10), Bounds(10, 0, 7, 10), SeamlessAxes.X,
    )  # fmt: skip


def test_what_fits_grows_on_all_sides_at_once():
    steps = increments(Extent(10, 10), Sides(3, 9, 6, 0), 5, fits=True)
    assert [step.picture for step in steps] == [Bounds(-1, -3, 15, 13), Bounds(-3, -6, 22, 16)]
    (step,) = increments(Extent(10, 10), Sides(0, 0, 0, 4), 5, fits=True)
    assert step.added == Bounds(0, 10, 10, 4)


@pytest.mark.parametrize("axes", [SeamlessAxes.NONE, SeamlessAxes.X], ids=str)
def test_the_joint_is_feathered_on_the_new_side(axes):
    """A constant error of the model vanishes at the border, stays away from it, and the picture is not touched."""
    picture = np.random.default_rng(4).uniform(0.3, 0.6, (40, 300, 3)).astype(np.float32)
    new = np.zeros((40, 300), bool)
    new[:, 120:] = True
    painted = picture + np.float32(0.1)
    joined = feather_joint(painted, picture, new, axes)
    assert (joined[~new] == picture[~new]).all()
    error = (joined - picture)[..., 0].mean(axis=0)
    assert error[120] < 0.005
    assert error[205] == pytest.approx(0.1, abs=1e-3)
    assert (np.diff(error[120:205]) > -1e-4).all(), "it comes in smoothly"
    last = error[299]
    assert last < 0.005 if axes is SeamlessAxes.X else last == pytest.approx(0.1, abs=1e-3)


def test_a_model_without_error_is_left_alone():
    picture = np.random.default_rng(4).random((30, 50, 3), np.float32)
    new = np.zeros((30, 50), bool)
    new[:, 20:] = True
    assert feather_joint(picture, picture, new) == pytest.approx(picture, abs=1e-6)
