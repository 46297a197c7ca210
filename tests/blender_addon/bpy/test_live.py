"""Live painting against a real server: the canvas is only read, the newest wins, every end has a sentence."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from tests.real_server import RealServer

from .conftest import addon
from .test_repaint import painted, pixels, textured_cube

SECONDS = 200


def live() -> Any:
    return addon("host.controller").get().live


def wish() -> Any:
    return bpy.context.scene.scumble.to_live_wish()


def tick_until(condition: Callable[[], bool]) -> None:
    """Turns the clock by hand: without a window Blender has none."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, live().told
        live().tick(wish())
        time.sleep(0.01)


def stroke(image: bpy.types.Image, color: tuple[float, float, float, float]) -> None:
    """Paints the lower half."""
    rows = pixels(image)
    rows[: image.size[1] // 2] = color
    image.pixels.foreach_set(rows.ravel())
    image.update()


@pytest.fixture
def canvas(scumble: Any, server: RealServer) -> Iterator[bpy.types.Image]:
    """A painted image on the cube; painting live is off afterwards."""
    scumble.live_steps = 1
    image = painted()
    textured_cube(image)
    yield image
    live().close()


def test_the_picture_follows_the_painting_and_the_painting_stays(canvas: bpy.types.Image) -> None:
    before = pixels(canvas)
    assert bpy.ops.scumble.start_live() == {"FINISHED"}
    view = bpy.data.images["Hand live"]
    assert tuple(view.size) == (64, 64)
    first = pixels(view)
    assert not np.array_equal(first, before)
    stroke(canvas, (1.0, 0.0, 0.0, 1.0))
    now = pixels(canvas)
    assert bpy.ops.scumble.update_live() == {"FINISHED"}
    assert not np.array_equal(pixels(view), first)
    assert np.array_equal(pixels(canvas), now), "the artist's image is only read"
    again = pixels(view)
    assert bpy.ops.scumble.update_live() == {"FINISHED"}
    assert np.array_equal(pixels(view), again), "the same painting gives the same picture"
    assert not bpy.ops.scumble.start_live.poll()
    assert bpy.ops.scumble.stop_live() == {"FINISHED"}
    assert live().told == "Live painting is off."
    assert not bpy.ops.scumble.stop_live.poll()


def test_settings_can_be_changed_while_it_runs(canvas: bpy.types.Image, scumble: Any) -> None:
    bpy.ops.scumble.start_live()
    pictures = [pixels(bpy.data.images["Hand live"])]
    for name, value in (
        ("prompt", "green moss"),
        ("live_strength", 1.0),
        ("live_size", 64),
        ("seed", 5),
    ):
        setattr(scumble, name, value)
        assert bpy.ops.scumble.update_live() == {"FINISHED"}
        pictures.append(pixels(bpy.data.images["Hand live"]))
    same = [np.array_equal(one, two) for one, two in itertools.pairwise(pictures)]
    assert same == [False, False, True, False], "a size above the painting's own changes nothing"


def test_keep_makes_an_image_with_its_recipe(
    canvas: bpy.types.Image, scumble: Any, tmp_path: Path
) -> None:
    assert not bpy.ops.scumble.keep_live.poll()
    scumble.live_strength = 0.7
    bpy.ops.scumble.start_live()
    shown = pixels(bpy.data.images["Hand live"])
    bpy.ops.scumble.stop_live()
    assert bpy.ops.scumble.keep_live() == {"FINISHED"}, "also after it was switched off"
    name = live().kept_image
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "live.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "live.blend"))
    kept = bpy.data.images[name]
    assert np.array_equal(pixels(kept), shown)
    recipe = json.loads(kept["scumble_recipe"])
    assert recipe["task"] == "image_to_image"
    assert (recipe["prompt"], recipe["strength"]) == ("weathered red bricks", 0.7)
    assert str(recipe["seed"]) == kept["scumble_seed"]
    assert "Hand live" not in bpy.data.images, "the view has no pixels in a saved file"


def test_a_large_painting_is_made_smaller_on_the_way(server: RealServer, scumble: Any) -> None:
    image = bpy.data.images.new("Wide", 96, 300, float_buffer=True)
    stroke(image, (2.0, 0.5, 0.1, 1.0))
    scumble.image, scumble.live_size, scumble.live_steps = image, 150, 1
    try:
        assert bpy.ops.scumble.start_live() == {"FINISHED"}
        view = bpy.data.images["Wide live"]
        assert tuple(view.size) == (48, 150)
        assert view.is_float
    finally:
        live().close()


def test_the_object_shows_the_picture_only_while_it_runs(
    canvas: bpy.types.Image, scumble: Any
) -> None:
    scumble.live_show = "OBJECT"
    node = bpy.data.objects["Cube"].active_material.node_tree.nodes.active
    bpy.ops.scumble.start_live()
    assert node.image.name == "Hand live"
    bpy.ops.scumble.stop_live()
    assert node.image == canvas
    assert not canvas.use_fake_user


def test_a_file_saved_meanwhile_shows_the_painting(
    canvas: bpy.types.Image, scumble: Any, tmp_path: Path
) -> None:
    scumble.live_show = "OBJECT"
    canvas.pack()
    bpy.ops.scumble.start_live()
    canvas.name = "Renamed"
    bpy.ops.scumble.update_live()
    stroke(canvas, (0.0, 0.0, 1.0, 1.0))
    bpy.ops.scumble.update_live()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "live.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "live.blend"))
    assert bpy.data.objects["Cube"].active_material.node_tree.nodes.active.image.name == "Renamed"
    assert "Hand live" not in bpy.data.images


@pytest.mark.parametrize("how", ["image deleted", "file closed", "refused"])
def test_every_end_has_a_sentence(canvas: bpy.types.Image, scumble: Any, how: str) -> None:
    bpy.ops.scumble.start_live()
    if how == "image deleted":
        bpy.data.images.remove(canvas)
        sentence = "Live painting ended: its image is gone."
    elif how == "file closed":
        bpy.ops.wm.read_homefile(use_factory_startup=True, load_ui=False)
        sentence = "Live painting ended: the file was closed."
        assert live().told == sentence
        return
    else:
        scumble.model = "no-such-model"
        sentence = "no-such-model"
    tick_until(lambda: not live().running)
    live().tick(wish())
    assert sentence in live().told
    assert live().canvas is None or how == "refused"


def test_a_server_that_goes_ends_it(scumble: Any, own_server: RealServer) -> None:
    scumble.image, scumble.live_steps = painted(), 1
    bpy.ops.scumble.start_live()
    own_server.kill()
    stroke(scumble.image, (0.0, 1.0, 0.0, 1.0))
    tick_until(lambda: not live().running)
    live().tick(wish())
    assert "server" in live().told
    assert bpy.ops.scumble.keep_live.poll(), "the last picture can still be kept"
    live().close()


@pytest.mark.parametrize("case", ["no prompt", "tiles", "a view", "no server"])
def test_it_does_not_begin(scumble: Any, preferences: Any, server: RealServer, case: str) -> None:
    scumble.image = painted()
    match case:
        case "no prompt":
            scumble.prompt, sentence = "", "Type a prompt first"
        case "tiles":
            scumble.image = bpy.data.images.new("Tiles", 8, 8, tiled=True)
            sentence = "UDIM tiles"
        case "a view":
            scumble.image["scumble_live"] = "Wall"
            sentence = "choose the image 'Wall'"
        case _:
            preferences.data_dir, sentence = "/nowhere", "No Scumble server is running"
    with pytest.raises(RuntimeError, match=sentence):
        bpy.ops.scumble.start_live()
    assert not live().running


def test_reading_is_paced_by_what_it_costs(canvas: bpy.types.Image) -> None:
    bpy.ops.scumble.start_live()
    session = live()
    session._read(canvas)
    assert 0.1 <= session._read_every < 5
