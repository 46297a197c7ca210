"""What the embedded model of materials does beyond others: layouts, few steps, maps, notes. Tiny random weights."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import ColorSpace, Pixels
from core_server.canvas.plan import SeamlessAxes
from core_server.errors import FailedPrecondition, InvalidRequest, TaskCancelled
from core_server.pipelines.layout_start import LayoutStart, calm_place, tile_side
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.map_maker import MAP_NAMES
from core_server.pipelines.material_maps import tiled_axes
from core_server.pipelines.request import (
    ImageToImage,
    MaterialMaps,
    Parameters,
    StructureStart,
    TextToImage,
    Texture,
)
from tests.core_server.pipelines.conftest import picture, quiet
from tests.core_server.pipelines.materials_folder import (
    FEW_STEP,
    make_materials_folder,
    materials_runtime,
)

EXTENT = Extent(64, 48)
NOISE, LAYOUT, AUTO = StructureStart.NOISE, StructureStart.LAYOUT, StructureStart.AUTO


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_materials_folder(tmp_path_factory.mktemp("embedded") / "default_model")


@pytest.fixture(scope="module")
def runtime(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> LocalRuntime:
    return materials_runtime(folder, tmp_path_factory.mktemp("data"))


def paint(runtime, prompt="red bricks", *, extent=EXTENT, **changes):
    parameters = Parameters(**{"prompt": prompt, "seed": 3, **changes})
    return runtime.run(TextToImage(parameters=parameters, extent=extent), {}, quiet)


@pytest.mark.parametrize(
    ("prompt", "structure", "steps", "expected"),
    [
        ("red bricks", AUTO, 6, "layout"),
        ("red bricks", LAYOUT, 6, "layout"),
        ("red bricks", NOISE, 6, "noise"),
        ("a portrait of my uncle", AUTO, 6, "noise"),
        ("red bricks", AUTO, 1, "noise"),
    ],
    ids=["auto", "asked for", "refused", "nothing to draw", "too few steps for a part of them"],
)
def test_what_a_picture_starts_from(runtime, prompt, structure, steps, expected):
    (output,) = paint(runtime, prompt, structure=structure, num_inference_steps=steps)
    recipe = output.recipe
    assert recipe["structure"] == expected
    assert recipe["steps_run"] == (3 if expected == "layout" else steps)
    if expected == "layout":
        assert recipe["layout"] == {"family": "bricks", "strength": 0.5, "detail": 0.5}
    else:
        assert "layout" not in recipe


@pytest.mark.parametrize(
    ("prompt", "steps", "words"),
    [("my uncle", 6, "names no material"), ("bricks", 1, "less than one step")],
    ids=["nothing to draw", "no step would run"],
)
def test_a_layout_that_cannot_be_is_refused(runtime, prompt, steps, words):
    with pytest.raises(InvalidRequest, match=words):
        paint(runtime, prompt, structure=LAYOUT, num_inference_steps=steps)


def test_models_without_a_generator_never_import_it(tmp_path):
    """In a process of its own: the training package costs them nothing, and a layout is refused."""
    code = f"""
import sys
from pathlib import Path
from core_server.canvas.geometry import Extent
from core_server.errors import InvalidRequest
from core_server.pipelines.request import Parameters, StructureStart, TextToImage
from core_server.pipelines.runtime import create_runtime
runtime = create_runtime("tiny", "cpu", Path({str(tmp_path)!r}))
def paint(structure):
    parameters = Parameters(prompt="bricks", structure=structure, num_inference_steps=1)
    runtime.run(TextToImage(parameters=parameters, extent=Extent(16, 16)), {{}}, lambda step: None)
paint(StructureStart.AUTO)
try:
    paint(StructureStart.LAYOUT)
except InvalidRequest as error:
    print(error.message)
print([name for name in sys.modules if name.startswith("core_server.training")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    refusal, modules = done.stdout.splitlines()[-2:]
    assert "has no generator" in refusal
    assert modules == "[]"


def test_picture_k_of_a_batch_is_the_picture_of_its_seed(runtime):
    batch = paint(runtime, count=2)
    alone = paint(runtime, seed=4)
    assert (batch[1].pixels.array == alone[0].pixels.array).all()
    assert (batch[0].pixels.array != batch[1].pixels.array).any()


@pytest.mark.parametrize("axes", SeamlessAxes, ids=str)
@pytest.mark.parametrize("extent", [(256, 256), (640, 384), (130, 1000)], ids=str)
def test_the_drawing_fills_any_size_and_tiles_where_asked(axes, extent):
    start = LayoutStart("red bricks", "bricks", 0.5, 3, 0.0)
    drawn = start.picture(Extent(*extent), 7, axes)
    assert drawn.shape == (extent[1], extent[0], 3)
    assert drawn.dtype == np.float32
    assert 0 <= drawn.min() < drawn.max() <= 1
    for axis in (0, 1):
        if axes is SeamlessAxes.XY or axes is (SeamlessAxes.Y, SeamlessAxes.X)[axis]:
            seam = np.abs(drawn.take(0, axis) - drawn.take(-1, axis)).mean()
            assert seam <= np.abs(np.diff(drawn, axis=axis)).mean()


@pytest.mark.parametrize(
    ("extent", "axes", "side"),
    [
        ((256, 256), SeamlessAxes.XY, 256),
        ((640, 640), SeamlessAxes.XY, 512),
        ((1024, 512), SeamlessAxes.X, 512),
        ((640, 384), SeamlessAxes.NONE, 1024),
        ((16, 16), SeamlessAxes.XY, 128),
        ((4096, 4096), SeamlessAxes.NONE, 1024),
    ],
)
def test_the_drawing_is_made_near_its_size(extent, axes, side):
    assert tile_side(Extent(*extent), axes) == side


def test_the_border_goes_where_a_tile_changes_least():
    tile = np.ones((8, 40, 3), np.float32)
    tile[:, 38:] = tile[:, :3] = 0  # a joint across the border
    place = calm_place(tile, 1)
    assert 3 + 4 <= place <= 38 - 4
    assert calm_place(np.zeros((8, 8, 3), np.float32), 0) == 0


@pytest.mark.parametrize(
    ("changes", "few"),
    [
        ({}, True),
        ({"num_inference_steps": 6}, False),
        ({"guidance_scale": 2.0}, False),
        ({"scheduler": "euler"}, False),
        ({"negative_prompt": "dirt"}, False),
        ({"few_step": False}, False),
        ({"few_step": True, "num_inference_steps": 6}, True),
    ],
    ids=["all open", "steps", "guidance", "scheduler", "negative prompt", "off", "on"],
)
def test_few_step_weights_are_the_default_where_all_is_open(runtime, changes, few):
    (output,) = paint(runtime, structure=NOISE, **changes)
    recipe = output.recipe
    assert recipe["few_step"] is few
    if not changes:
        for name in ("num_inference_steps", "guidance_scale", "scheduler"):
            assert recipe[name] == FEW_STEP[name]
    same = {"num_inference_steps": 6, "guidance_scale": 1.0, "scheduler": "euler"}
    one, two = (paint(runtime, few_step=it, **same)[0].pixels.array for it in (True, False))
    assert (one != two).any()


def test_a_recipe_repeats_its_picture(runtime):
    (first,) = paint(runtime)
    recipe = first.recipe
    names = ("num_inference_steps", "guidance_scale", "scheduler", "few_step", "structure")
    again = {name: recipe[name] for name in names}
    again["structure"] = StructureStart(again["structure"])
    (second,) = paint(runtime, **again)
    assert (first.pixels.array == second.pixels.array).all()


def test_few_step_weights_do_every_task(runtime):
    request = ImageToImage(parameters=Parameters(prompt="moss", seed=1), image="a", strength=0.5)
    (output,) = runtime.run(request, {"a": picture(64, 48)}, quiet)
    assert output.recipe["few_step"] is True
    assert output.recipe["steps_run"] == 2


def test_few_steps_without_their_weights(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "plain")
    shutil.rmtree(tmp_path / "plain" / "few_step")
    runtime = materials_runtime(tmp_path / "plain", tmp_path)
    assert paint(runtime)[0].recipe["few_step"] is False
    with pytest.raises(InvalidRequest, match="no few-step weights"):
        paint(runtime, few_step=True)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("red bricks", ()),
        ("a quokka on bricks", ("does not know: quokka", "scumble models install")),
        ("a portrait of my uncle", ("only makes materials", "scumble models install")),
    ],
    ids=["a material", "an unknown word", "no material"],
)
def test_prompts_for_something_else_are_answered_with_a_note(runtime, prompt, words):
    (output,) = paint(runtime, prompt)
    notes = [note for note in output.recipe["notes"] if "materials" in note]
    assert bool(notes) is bool(words)
    assert all(word in notes[0] for word in words)


@pytest.mark.parametrize("axes", [SeamlessAxes.XY, SeamlessAxes.NONE], ids=str)
def test_a_texture_brings_its_maps(runtime, axes):
    request = Texture(
        parameters=Parameters(prompt="bricks", seed=1, count=2, seamless=axes),
        extent=EXTENT,
        maps=("height", "normal", "base_color"),
        height_dtype="uint16",
    )
    outputs = runtime.run(request, {}, quiet)
    assert [it.map_name for it in outputs] == ["base_color", "height", "normal"] * 2
    assert [it.seed for it in outputs] == [1] * 3 + [2] * 3
    for it in outputs:
        assert it.pixels.extent == EXTENT
        assert ("seam_ratio" in it.recipe) is (axes is not SeamlessAxes.NONE)
        is_color = it.map_name == "base_color"
        assert it.pixels.color_space is (ColorSpace.SRGB if is_color else ColorSpace.NON_COLOR)
    height, normal = outputs[1:3]
    assert height.pixels.array.dtype == np.uint16
    assert height.pixels.channels == 1
    assert normal.pixels.array.dtype == np.uint8
    assert normal.recipe["normal_convention"] == "opengl"


def test_maps_of_a_texture_are_those_of_its_base_color(runtime):
    parameters = Parameters(prompt="bricks", seed=1, seamless=SeamlessAxes.XY)
    texture = Texture(parameters=parameters, extent=EXTENT, maps=("roughness",))
    base, rough = runtime.run(texture, {}, quiet)
    (alone,) = runtime.run(
        MaterialMaps(parameters=parameters, image="a", maps=("roughness",)),
        {"a": base.pixels},
        quiet,
    )
    assert (alone.pixels.array == rough.pixels.array).all()


@pytest.mark.parametrize(
    ("dtype", "channels", "space"),
    [
        ("uint8", 3, ColorSpace.SRGB),
        ("uint16", 4, ColorSpace.SRGB),
        ("float32", 3, ColorSpace.LINEAR_REC709),
        ("uint8", 1, ColorSpace.SRGB),
    ],
    ids=str,
)
def test_maps_of_any_picture(runtime, dtype, channels, space):
    request = MaterialMaps(parameters=Parameters(seed=9), image="a")
    steps = []
    outputs = runtime.run(request, {"a": picture(50, 31, channels, dtype, space)}, steps.append)
    assert [it.map_name for it in outputs] == list(MAP_NAMES)
    assert {it.pixels.array.dtype.name for it in outputs} == {"uint8"}
    assert all(it.pixels.extent == Extent(50, 31) for it in outputs)
    assert steps[-1].step == steps[-1].steps == 1
    assert all(json.dumps(it.recipe) for it in outputs)


def test_maps_that_cannot_be(runtime, folder, tmp_path):
    wrong = MaterialMaps(parameters=Parameters(), image="a", maps=("base_color",))
    with pytest.raises(InvalidRequest, match="is the picture itself"):
        runtime.run(wrong, {"a": picture(16, 16)}, quiet)
    shutil.copytree(folder, tmp_path / "plain")
    shutil.rmtree(tmp_path / "plain" / "maps")
    plain = materials_runtime(tmp_path / "plain", tmp_path)
    texture = Texture(parameters=Parameters(prompt="moss"), extent=EXTENT, maps=("normal",))
    with pytest.raises(FailedPrecondition, match="no network for material maps"):
        plain.run(texture, {}, quiet)


def test_making_maps_can_be_cancelled(runtime):
    def cancel(step):
        if step.stage == "Making maps":
            raise TaskCancelled

    request = MaterialMaps(parameters=Parameters(), image="a")
    with pytest.raises(TaskCancelled):
        runtime.run(request, {"a": picture(16, 16)}, cancel)


@pytest.mark.parametrize("axes", SeamlessAxes, ids=str)
def test_a_picture_tells_whether_it_tiles(axes):
    y, x = np.mgrid[0:64, 0:64] / 64
    across = np.sin(2 * np.pi * 3 * x) if axes in (SeamlessAxes.X, SeamlessAxes.XY) else 2 * x
    down = np.cos(2 * np.pi * 2 * y) if axes in (SeamlessAxes.Y, SeamlessAxes.XY) else 2 * y
    assert tiled_axes(np.stack([across + down] * 3, axis=2).astype(np.float32)) is axes


def test_axes_are_looked_at_where_nothing_is_said(runtime):
    parameters = Parameters(prompt="bricks", seed=1, seamless=SeamlessAxes.XY)
    (tile,) = runtime.run(Texture(parameters=parameters, extent=EXTENT), {}, quiet)
    request = MaterialMaps(parameters=Parameters(), image="a", axes_from_picture=True)
    found = runtime.run(request, {"a": Pixels(tile.pixels.array)}, quiet)[0].recipe["seamless"]
    assert found == tiled_axes(tile.pixels.array.astype(np.float32) / 255).value
