"""Tiles cover a picture, overlap enough, and blend to what they were cut from."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core_server.canvas.geometry import Extent
from core_server.canvas.plan import SeamlessAxes, wraps
from core_server.canvas.tiling import Blend, read_tile, tiles_of

EXTENTS = st.builds(Extent, st.integers(1, 90), st.integers(1, 90))


@settings(max_examples=1000, deadline=None)
@given(
    EXTENTS,
    st.builds(Extent, st.integers(16, 60), st.integers(16, 60)),
    st.integers(1, 7),
    st.sampled_from(SeamlessAxes),
)
def test_tiles_blend_to_what_they_were_cut_from(extent, tile, overlap, axes):
    rng = np.random.default_rng(extent.area)
    image = rng.random((extent.height, extent.width, 3), np.float32)
    blend = Blend(extent, overlap, axes)
    places = tiles_of(extent, tile, overlap, axes)
    for place in places:
        assert place.extent == (min(tile.width, extent.width), min(tile.height, extent.height))
        for axis, start, length, side in (
            (0, place.y, place.height, extent.height),
            (1, place.x, place.width, extent.width),
        ):
            assert 0 <= start < side
            assert wraps(axes, axis) or start + length <= side
        blend.add(place, read_tile(image, place))
    assert np.abs(blend.result() - image).max() < 1e-5
    xs = sorted({place.x for place in places})
    assert all(b - a <= places[0].width - overlap for a, b in pairwise(xs))
    if wraps(axes, 1) and len(xs) > 1:
        assert xs[0] + extent.width - xs[-1] <= places[0].width - overlap


@pytest.mark.parametrize("axes", [SeamlessAxes.NONE, SeamlessAxes.XY], ids=str)
def test_tiles_that_differ_leave_no_step(axes):
    """Tiles of unlike brightness: from one px to the next the blend changes little, across a tile's border too."""
    extent, overlap = Extent(200, 160), 16
    blend = Blend(extent, overlap, axes)
    for index, place in enumerate(tiles_of(extent, Extent(64, 64), overlap, axes)):
        blend.add(place, np.full((64, 64, 3), index % 2, np.float32))
    result = blend.result()[..., 0]
    steps = [np.abs(np.diff(result, axis=axis)).max() for axis in (0, 1)]
    if axes is SeamlessAxes.XY:
        steps += [np.abs(result[0] - result[-1]).max(), np.abs(result[:, 0] - result[:, -1]).max()]
    assert max(steps) < 0.2
