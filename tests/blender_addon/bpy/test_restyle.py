"""Renders painted anew, against a real server: the last render, and an animation that goes on where it ended."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from tests.real_server import RealServer

from .conftest import addon
from .test_repaint import pixels


def running() -> Any:
    return addon("host.controller").get()


@pytest.fixture
def stage(scumble: Any, server: RealServer, tmp_path: Path) -> bpy.types.Scene:
    """A small scene that renders in a moment, with its output set to something odd."""
    scene = bpy.context.scene
    scene.render.engine = "BLENDER_WORKBENCH"
    scene.render.resolution_x, scene.render.resolution_y = 96, 64
    scene.render.image_settings.file_format = "OPEN_EXR"
    scene.render.image_settings.color_depth = "32"
    scene.frame_start, scene.frame_end, scene.frame_step = 3, 7, 2
    scumble.frames_folder = str(tmp_path / "out")
    scumble.control = "NONE"
    return scene


def test_the_last_render_becomes_an_image_of_its_own(stage: bpy.types.Scene, scumble: Any) -> None:
    bpy.ops.render.render()
    scumble.restyle_strength = 0.6
    assert bpy.ops.scumble.restyle_render() == {"FINISHED"}
    made = bpy.data.images[running().last_images[0]]
    assert tuple(made.size) == (96, 64)
    recipe = json.loads(made["scumble_recipe"])
    assert (recipe["task"], recipe["strength"]) == ("image_to_image", 0.6)
    output = stage.render.image_settings
    assert (output.file_format, output.color_depth) == ("OPEN_EXR", "32"), "the output is as it was"


def test_without_strength_it_is_the_render(stage: bpy.types.Scene, scumble: Any) -> None:
    bpy.ops.render.render()
    taken = addon("host.renders").last_render(bpy.context)
    folder = taken.path.parent
    wire = taken.to_wire()
    assert wire.shape == (64, 96, 4)
    assert not folder.exists(), "nothing is left behind"
    assert (wire[..., 3] == 255).all(), "an opaque film has no holes"
    stage.render.image_settings.file_format = "PNG"
    stage.render.image_settings.color_mode, stage.render.image_settings.color_depth = "RGBA", "8"
    path = Path(scumble.frames_folder + ".png")
    bpy.data.images["Render Result"].save_render(str(path))
    displayed = np.rint(pixels(bpy.data.images.load(str(path)))[::-1] * 255).astype(np.uint8)
    assert np.array_equal(displayed[..., :3], wire[..., :3])


def test_shape_goes_along_where_the_model_can(stage: bpy.types.Scene, scumble: Any) -> None:
    bpy.ops.render.render()
    scumble.control = "AUTO"
    assert bpy.ops.scumble.restyle_render() == {"FINISHED"}
    assert "without the depth and normal" in running().status.note
    scumble.control = "DEPTH"
    with pytest.raises(RuntimeError, match="ontrol"):
        bpy.ops.scumble.restyle_render()
    restyle, renders = addon("bridge.restyle"), addon("host.renders")
    shape = restyle.Shape(renders.scene_before(bpy.context, "CAMERA"), 96, 64)
    assert shape.depth.shape == (64, 96)
    assert shape.depth[32, 48] > 0.1, "the cube is in the middle"
    assert shape.depth[0, 0] == 0, "and nothing in the corner"
    assert np.allclose(np.linalg.norm(shape.normals, axis=2), 1)


def test_an_animation_can_be_cancelled_and_goes_on(
    stage: bpy.types.Scene, scumble: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    stage.frame_set(1)
    module, server = addon("operators.restyle"), addon("preferences").get(bpy.context).to_server()
    running().restyle(module._plan(bpy.context), server)
    first_seed = scumble.seed
    deadline = time.monotonic() + 200
    while not (out / "0003.png").is_file() and time.monotonic() < deadline:
        running().pump()
        time.sleep(0.01)
    while running().batch is not None and not running().session.busy:
        running().pump()
    assert bpy.ops.scumble.cancel_generation() == {"FINISHED"}
    assert not running().busy
    note = running().status.note
    assert "of 3 frames are in" in note
    assert note.endswith("press again to go on.")
    done = {path.name: path.stat().st_mtime_ns for path in out.glob("*.png")}
    assert "0003.png" in done
    assert "0007.png" not in done
    assert bpy.ops.scumble.restyle_animation() == {"FINISHED"}
    assert sorted(path.name for path in out.glob("*.png")) == ["0003.png", "0005.png", "0007.png"]
    assert all((out / name).stat().st_mtime_ns == when for name, when in done.items())
    assert not list(out.glob("*.part"))
    assert stage.frame_current == 1
    assert scumble.seed == first_seed, "an unlocked seed goes on with that of the folder"
    assert json.loads((out / "scumble.json").read_text())["seed"] == first_seed


def test_frames_of_files_with_a_seed_each(
    stage: bpy.types.Scene, scumble: Any, tmp_path: Path
) -> None:
    stage.render.filepath = str(tmp_path / "rendered" / "frame_")
    stage.render.image_settings.file_format, stage.render.image_settings.color_depth = "PNG", "8"
    scumble.frames_from = "FILES"
    with pytest.raises(RuntimeError, match="render the animation first"):
        bpy.ops.scumble.restyle_animation()
    bpy.ops.render.render(animation=True)
    scumble.frames_seed, scumble.lock_seed, scumble.seed = "FRAME", True, 100
    images = len(bpy.data.images)
    assert bpy.ops.scumble.restyle_animation() == {"FINISHED"}
    assert len(bpy.data.images) == images, "frames are files, not images of the .blend"
    for frame in (3, 5, 7):
        data = (tmp_path / "out" / f"{frame:04d}.png").read_bytes()
        assert f'"seed": {100 + frame}'.encode() in data
    scumble.prompt = "something else"
    with pytest.raises(RuntimeError, match="made with other settings"):
        bpy.ops.scumble.restyle_animation()
    scumble.frames_overwrite = True
    assert bpy.ops.scumble.restyle_animation() == {"FINISHED"}


def test_a_frame_waits_for_a_server_that_is_away(
    stage: bpy.types.Scene, scumble: Any, preferences: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addon("host.frames"), "_RETRY_SECONDS", 0.05)
    right, preferences.data_dir = preferences.data_dir, "/nowhere"
    with pytest.raises(RuntimeError, match=r"Frame 3: No Scumble server .* 0 of 3 frames"):
        bpy.ops.scumble.restyle_animation()
    preferences.data_dir = right
    assert bpy.ops.scumble.restyle_animation() == {"FINISHED"}


@pytest.mark.parametrize(
    "case", ["no render", "no prompt", "unsaved", "no camera", "movie", "window"]
)
def test_it_refuses_in_one_sentence(stage: bpy.types.Scene, scumble: Any, case: str) -> None:
    operator = bpy.ops.scumble.restyle_render
    match case:
        case "no render":
            sentence = "There is no render: press F12 first"
        case "no prompt":
            scumble.prompt, sentence = "", "Type a prompt first"
        case "window":
            scumble.restyle_from, sentence = "VIEWPORT", "viewport"
        case _:
            operator = bpy.ops.scumble.restyle_animation
    match case:
        case "unsaved":
            scumble.frames_folder, sentence = "//out", "was never saved"
        case "no camera":
            stage.camera, sentence = None, "no camera to render from"
        case "movie":
            scumble.frames_from, sentence = "FILES", "is a movie"
            if hasattr(stage.render.image_settings, "media_type"):
                stage.render.image_settings.media_type = "VIDEO"
            stage.render.image_settings.file_format = "FFMPEG"
    with pytest.raises(RuntimeError, match=sentence):
        operator()
    assert not running().busy
