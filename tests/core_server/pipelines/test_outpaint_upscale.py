"""Outpainting and upscaling with the untrained test model: sizes, untouched pixels, steps, tiles, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from core_server.canvas.geometry import Bounds, Extent
from core_server.canvas.pixels import ColorSpace, Pixels
from core_server.canvas.plan import FillMode, SeamlessAxes
from core_server.errors import InvalidRequest, TaskCancelled
from core_server.pipelines.request import Outpaint, Parameters, Upscale
from tests.core_server.pipelines.conftest import picture, quiet


def parameters(**changes):
    return Parameters(**{"prompt": "moss", "num_inference_steps": 2, "seed": 3, **changes})


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
@pytest.mark.parametrize("space", [ColorSpace.SRGB, ColorSpace.LINEAR_REC709], ids=str)
def test_the_original_stays_bit_for_bit(runtime, dtype, space):
    document = picture(61, 47, 4, dtype, space)
    request = Outpaint(parameters=parameters(), image="a", left=7, right=1, top=0, bottom=33)
    (output,) = runtime.run(request, {"a": document}, quiet)
    assert output.bounds == Bounds(-7, 0, 69, 80)
    assert output.pixels.extent == output.composite_mask.extent == Extent(69, 80)
    assert output.pixels.array.dtype == document.array.dtype
    assert output.pixels.color_space is space
    place = np.s_[0:47, 7:68]
    assert (output.pixels.array[place] == document.array).all()
    mask = output.composite_mask.array[..., 0]
    assert not mask[place].any()
    assert (mask == 255).sum() == 69 * 80 - 61 * 47
    opaque = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    assert (output.pixels.array[..., 3][mask == 255] == opaque).all()
    assert output.pixels.array[..., :3][mask == 255].std() > 0


def test_growth_beyond_a_models_size_takes_increments(runtime):
    document = picture(90, 80)
    request = Outpaint(parameters=parameters(), image="a", right=200)
    events = []
    (output,) = runtime.run(request, {"a": document}, events.append)
    assert output.pixels.extent == Extent(290, 80)
    added = [step["added"] for step in output.recipe["increments"]]
    assert sum(width for _, _, width, _ in added) == 200
    assert len(added) > 1
    painted = [event for event in events if event.stage == "Painting"]
    assert painted[-1].step == painted[-1].steps == output.recipe["steps_run"]
    assert (output.pixels.array[:, :90] == document.array).all()


def test_a_tile_that_grows_stays_one(runtime):
    tile = picture(64, 48).array
    request = Outpaint(parameters=parameters(seamless=SeamlessAxes.X), image="a", left=20, right=12)
    (output,) = runtime.run(request, {"a": Pixels(tile)}, quiet)
    assert output.bounds == Bounds(-20, 0, 96, 48)
    assert (output.pixels.array[:, 20:84] == tile).all()
    assert set(output.recipe["seam_ratio"]) == {"x"}
    assert output.recipe["increments"][0]["added"] == [64, 0, 32, 48], "one gap"


def test_strength_and_fill_matter(runtime):
    document = picture(64, 64)

    def paint(**changes):
        request = Outpaint(parameters=parameters(), image="a", right=32, **changes)
        return runtime.run(request, {"a": document}, quiet)[0].pixels.array

    assert (paint(strength=0.5) != paint(strength=1.0)).any()
    assert (
        paint(strength=0.5, fill=FillMode.NEUTRAL) != paint(strength=0.5, fill=FillMode.BORDER)
    ).any()


@pytest.mark.parametrize(
    ("sides", "changes", "words"),
    [
        ({}, {}, "not all 0"),
        ({"left": -1, "right": 5}, {}, "0 or more"),
        ({"left": 5}, {"strength": 0.0}, "above 0"),
        ({"left": 5}, {"strength": 0.1}, "less than one step"),
    ],
)
def test_bad_outpaints_get_one_sentence(runtime, sides, changes, words):
    request = Outpaint(parameters=parameters(), image="a", **sides, **changes)
    with pytest.raises(InvalidRequest, match=words):
        runtime.run(request, {"a": picture(30, 30)}, quiet)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
@pytest.mark.parametrize("factor", [2, 4])
def test_upscaling_keeps_type_and_content(runtime, dtype, factor):
    y, x = np.mgrid[0:30, 0:42] / 42
    values = np.stack([x, y, 0.5 + 0 * x, (x > 0.5) * 1.0], axis=2)
    top = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    document = Pixels((values * top).astype(dtype))
    request = Upscale(parameters=parameters(prompt=""), image="a", factor=factor, strength=0.5)
    (output,) = runtime.run(request, {"a": document}, quiet)
    assert output.pixels.extent == Extent(42 * factor, 30 * factor)
    assert output.pixels.array.dtype == document.array.dtype
    large = output.pixels.array.astype(float) / top
    reduced = large.reshape(30, factor, 42, factor, 4).mean(axis=(1, 3))
    # The untrained model paints noise; on average over each pixel the picture is still the one it was.
    assert np.abs(reduced[..., :3] - values[..., :3]).mean() < 0.08
    assert np.abs(reduced[..., 3] - values[..., 3]).mean() < 0.02


def test_upscaling_without_strength_paints_nothing(runtime):
    document = picture(30, 20)
    request = Upscale(parameters=parameters(), image="a", strength=0.0)
    events = []
    (output,) = runtime.run(request, {"a": document}, events.append)
    assert output.recipe["steps_run"] == 0
    assert output.recipe["tiles"] == []
    assert not [event for event in events if "tile" in event.stage]


def test_large_pictures_are_painted_in_tiles(runtime):
    document = picture(110, 60)
    request = Upscale(parameters=parameters(seamless=SeamlessAxes.X), image="a", strength=0.5)
    events = []
    (output,) = runtime.run(request, {"a": document}, events.append)
    tiles = output.recipe["tiles"]
    assert len(tiles) > 1
    assert any(x + width > 220 for x, _, width, _ in tiles), "one goes across the border"
    last = [event for event in events if event.stage.startswith("Painting tile")][-1]
    assert last.stage == f"Painting tile {len(tiles)} of {len(tiles)}"
    assert last.step == last.steps == output.recipe["steps_run"]
    assert "seam_ratio" in output.recipe


def test_upscaling_is_cancelled_between_tiles(runtime):
    def stop(progress):
        if progress.stage.startswith("Painting tile 2"):
            raise TaskCancelled

    request = Upscale(parameters=parameters(), image="a", strength=0.5)
    with pytest.raises(TaskCancelled):
        runtime.run(request, {"a": picture(110, 60)}, stop)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"factor": 3}, "2 or 4"),
        ({"strength": 1.5}, "0 to 1"),
        ({"strength": float("nan")}, "0 to 1"),
    ],
)
def test_bad_upscales_get_one_sentence(runtime, changes, words):
    request = Upscale(parameters=parameters(), image="a", **changes)
    with pytest.raises(InvalidRequest, match=words):
        runtime.run(request, {"a": picture(8, 8)}, quiet)
