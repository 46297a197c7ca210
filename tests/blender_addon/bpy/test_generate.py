"""Generate Texture against a real server: what lands in the file, exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

import scumble.client
from tests.real_server import RealServer

from .conftest import MODEL, addon


def newest_result(server: RealServer) -> scumble.client.Patch:
    """What the server has for the newest job, fetched independently of the add-on."""
    with scumble.client.connect(data_dir=server.data_dir) as client:
        return client.job(client.jobs(limit=1)[0].job_id).result()[0]


def stored_bytes(image: bpy.types.Image) -> np.ndarray:
    """The image's 8-bit values, row 0 on top."""
    flat = np.empty(image.size[0] * image.size[1] * 4, np.float32)
    image.pixels.foreach_get(flat)
    rows = flat.reshape(image.size[1], image.size[0], 4)[::-1]
    return np.rint(rows * 255).astype(np.uint8)


def assert_is(image: bpy.types.Image, patch: scumble.client.Patch) -> None:
    """Every pixel, in place."""
    assert tuple(image.size) == (patch.pixels.width, patch.pixels.height)
    expected = patch.pixels.numpy()
    assert not np.array_equal(expected, expected[::-1]), "too even a picture to show orientation"
    assert np.array_equal(stored_bytes(image)[..., : expected.shape[2]], expected)


def test_the_file_holds_exactly_what_the_server_painted(
    scumble: Any, server: RealServer, tmp_path: Path
) -> None:
    before = set(bpy.data.images.keys())
    assert bpy.ops.scumble.generate_texture() == {"FINISHED"}
    (name,) = set(bpy.data.images.keys()) - before
    image, patch = bpy.data.images[name], newest_result(server)
    assert name == "weathered red bricks"
    assert tuple(image.size) == (72, 48)
    assert_is(image, patch)
    assert image.colorspace_settings.name == "sRGB"
    assert image.packed_file is not None
    assert image["scumble_seed"] == str(scumble.seed) == str(patch.seed)
    assert json.loads(image["scumble_recipe"]) == patch.recipe

    path = tmp_path / "saved.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.open_mainfile(filepath=str(path))
    assert_is(bpy.data.images[name], patch)
    assert json.loads(bpy.data.images[name]["scumble_recipe"]) == patch.recipe
    assert bpy.context.scene.scumble.prompt == "weathered red bricks"
    unpacked = tmp_path / "out.png"
    unpacked.write_bytes(bpy.data.images[name].packed_file.data)
    assert b"iTXtscumble\0" in unpacked.read_bytes(), "an unpacked file keeps its recipe"


def test_the_cube_shows_it_and_one_undo_takes_it_back(scumble: Any, server: RealServer) -> None:
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.scumble.generate_texture()
    texture = base_color_texture()
    assert texture.image.name == "weathered red bricks"
    assert texture.inputs["Vector"].links[0].from_node.type == "MAPPING"
    bpy.ops.ed.undo()
    material = bpy.data.objects["Cube"].active_material
    assert not material.node_tree.nodes["Principled BSDF"].inputs["Base Color"].is_linked
    assert "weathered red bricks" not in bpy.data.images
    bpy.ops.ed.redo()
    assert base_color_texture().image.name == "weathered red bricks"
    assert_is(base_color_texture().image, newest_result(server))


def test_the_next_texture_takes_the_place_of_the_first(scumble: Any, server: RealServer) -> None:
    bpy.ops.scumble.generate_texture()
    nodes = len(bpy.data.objects["Cube"].active_material.node_tree.nodes)
    scumble.prompt = "blue tiles"
    bpy.ops.scumble.generate_texture()
    assert base_color_texture().image.name == "blue tiles"
    assert len(bpy.data.objects["Cube"].active_material.node_tree.nodes) == nodes
    bpy.ops.ed.undo()
    assert base_color_texture().image.name == "weathered red bricks"


def test_a_locked_seed_repeats_the_picture(scumble: Any, server: RealServer) -> None:
    scumble.lock_seed, scumble.seed = True, 1234
    pictures = []
    for _ in range(2):
        bpy.ops.scumble.generate_texture()
        name = addon("host.controller").get().last_images[0]
        pictures.append(stored_bytes(bpy.data.images[name]))
    assert scumble.seed == 1234
    assert np.array_equal(*pictures)
    scumble.lock_seed = False
    bpy.ops.scumble.generate_texture()
    assert scumble.seed != 1234


def test_settings_reach_the_server(scumble: Any, server: RealServer) -> None:
    scumble.seamless = "x"
    scumble.negative_prompt = "moss"
    scumble.guidance_auto, scumble.guidance_scale = False, 4.5
    scumble.place = "IMAGE"
    assert bpy.ops.scumble.generate_texture() == {"FINISHED"}
    recipe = newest_result(server).recipe
    flat = json.dumps(recipe)
    assert recipe["num_inference_steps"] == 2
    assert "moss" in flat
    assert "4.5" in flat


SERVERS_NOTE = {
    "tiny": "The test model was never trained; its pictures are coloured noise.",
    "default": "the nearest size this model paints well, and resampled to 72 x 48.",
}


@pytest.mark.parametrize("where", ["MATERIAL", "NEW_SLOT", "IMAGE"])
def test_the_note_says_what_was_done(scumble: Any, server: RealServer, where: str) -> None:
    scumble.place = where
    bpy.ops.scumble.generate_texture()
    note = addon("host.controller").get().status.note
    assert note.endswith(SERVERS_NOTE[MODEL])
    assert note.startswith("Made the image 'weathered red bricks'")
    assert ("'Cube'" in note or "'Material'" in note) is (where != "IMAGE")


def base_color_texture() -> bpy.types.ShaderNode:
    """The node that feeds the cube's Base Color."""
    nodes = bpy.data.objects["Cube"].active_material.node_tree.nodes
    return nodes["Principled BSDF"].inputs["Base Color"].links[0].from_node


def test_a_script_gets_its_images_and_saves_them(
    scumble: Any, server: RealServer, tmp_path: Path
) -> None:
    scumble.place = "IMAGE"
    for prompt in ("oak planks", "grey slate"):
        scumble.prompt = prompt
        assert bpy.ops.scumble.generate_texture(wait=True) == {"FINISHED"}
        [image] = scumble.made
        image.save(filepath=str(tmp_path / f"{prompt}.png"))
        assert_is(bpy.data.images.load(str(tmp_path / f"{prompt}.png")), newest_result(server))
    bpy.data.images.remove(image)
    assert scumble.made == []
