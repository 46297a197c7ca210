"""Variations, maps, upscaling, recipes, assets, presets, shortcuts: each by its operator."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from tests.real_server import RealServer

from .conftest import MODEL, addon
from .test_repaint import painted, pixels, textured_cube


def running() -> Any:
    return addon("host.controller").get()


def marks(material: bpy.types.Material) -> dict[str, bpy.types.ShaderNode]:
    """Scumble's own nodes by their mark."""
    return {node["scumble"]: node for node in material.node_tree.nodes if "scumble" in node}


def source_of(socket: bpy.types.NodeSocket) -> str:
    return str(socket.links[0].from_node.get("scumble")) if socket.is_linked else ""


def test_pick_one_of_several(scumble: Any, server: RealServer) -> None:
    scumble.count = 3
    images = len(bpy.data.images)
    assert bpy.ops.scumble.generate_texture() == {"FINISHED"}
    assert len(running().variations) == 3
    assert len(bpy.data.images) == images, "nothing is in the file before a pick"
    assert running().status.note.startswith("Painted 3 variations: pick one.")
    wanted = running().variations[2][0]
    with pytest.raises(RuntimeError, match="variations 0 to 2"):
        bpy.ops.scumble.choose_variation(number=7)
    assert bpy.ops.scumble.choose_variation(number=2) == {"FINISHED"}
    assert bpy.ops.scumble.accept_variation() == {"FINISHED"}
    assert len(bpy.data.images) == images + 1
    made = bpy.data.images[running().last_images[0]]
    assert made["scumble_seed"] == str(wanted.seed) == str(scumble.seed + 2)
    assert not bpy.ops.scumble.accept_variation.poll()


def test_keep_all_or_none(scumble: Any, server: RealServer) -> None:
    scumble.count = 2
    images = len(bpy.data.images)
    bpy.ops.scumble.generate_texture()
    assert bpy.ops.scumble.discard_variations() == {"FINISHED"}
    assert len(bpy.data.images) == images
    bpy.ops.scumble.generate_texture()
    assert bpy.ops.scumble.accept_variation(keep_all=True) == {"FINISHED"}
    assert len(bpy.data.images) == images + 2
    assert sum(image.use_fake_user for image in bpy.data.images) == 1


def test_variations_of_a_repaint(scumble: Any, server: RealServer) -> None:
    textured_cube(painted())
    scumble.mask, scumble.count = "WHOLE", 2
    assert bpy.ops.scumble.repaint_image() == {"FINISHED"}
    assert bpy.ops.scumble.accept_variation() == {"FINISHED"}
    assert running().last_images == ["Hand.001"]


def test_a_texture_with_its_maps(scumble: Any, server: RealServer) -> None:
    scumble.maps = {"normal", "roughness", "height"}
    assert bpy.ops.scumble.generate_texture() == {"FINISHED"}
    material = bpy.data.objects["Cube"].active_material
    ours, principled = marks(material), material.node_tree.nodes["Principled BSDF"]
    assert source_of(principled.inputs["Base Color"]) == "base_color"
    assert source_of(principled.inputs["Roughness"]) == "roughness"
    assert source_of(principled.inputs["Normal"]) == "bump"
    assert source_of(ours["bump"].inputs["Normal"]) == "normal_map"
    assert source_of(ours["bump"].inputs["Height"]) == "height"
    for name in ("normal", "roughness", "height"):
        assert ours[name].image.colorspace_settings.is_data
        assert tuple(ours[name].image.size) == (72, 48)
        vectors = [ours[n].inputs["Vector"].links[0].from_node for n in (name, "base_color")]
        assert vectors[0] == vectors[1], "all maps share one mapping"
    assert material.node_tree.nodes.active == ours["base_color"]
    count, links = len(material.node_tree.nodes), len(material.node_tree.links)
    bpy.ops.scumble.generate_texture()
    assert (len(material.node_tree.nodes), len(material.node_tree.links)) == (count, links)


def test_maps_from_an_image_leave_what_is_connected(scumble: Any, server: RealServer) -> None:
    cube = textured_cube(painted())
    tree = cube.active_material.node_tree
    ramp = tree.nodes.new("ShaderNodeValToRGB")
    rough = tree.nodes["Principled BSDF"].inputs["Roughness"]
    tree.links.new(ramp.outputs["Color"], rough)
    scumble.height_as = "DISPLACEMENT"
    assert bpy.ops.scumble.make_maps() == {"FINISHED"}
    assert rough.links[0].from_node == ramp
    assert "Roughness in use, left alone" in running().status.note
    ours = marks(cube.active_material)
    assert source_of(tree.nodes["Principled BSDF"].inputs["Normal"]) == "normal_map"
    assert source_of(tree.get_output_node("ALL").inputs["Displacement"]) == "displacement"
    assert {"normal", "roughness", "height", "ambient_occlusion"} <= set(ours)
    assert tree.nodes.active.image.name == "Hand"


def test_upscale(scumble: Any, server: RealServer) -> None:
    textured_cube(painted())
    assert bpy.ops.scumble.upscale_image() == {"FINISHED"}
    assert tuple(bpy.data.images["Hand.001"].size) == (128, 128)
    assert tuple(bpy.data.images["Hand"].size) == (64, 64)


def test_generate_again_from_the_recipe(scumble: Any, server: RealServer, tmp_path: Path) -> None:
    scumble.seamless, scumble.negative_prompt, scumble.guidance_end = "x", "moss", 0.5
    bpy.ops.scumble.generate_texture()
    first = running().last_images[0]
    was = pixels(bpy.data.images[first])
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    settings = bpy.context.scene.scumble
    settings.prompt, settings.negative_prompt, settings.seamless = "other", "", "none"
    settings.width, settings.guidance_end = 16, 1.0
    assert bpy.ops.scumble.generate_again(image=first) == {"FINISHED"}
    assert (settings.prompt, settings.seamless, settings.width) == ("weathered red bricks", "x", 72)
    assert settings.guidance_end == 0.5
    again = running().last_images[0]
    assert again != first
    assert np.array_equal(pixels(bpy.data.images[again]), was)
    with pytest.raises(RuntimeError, match="no recipe"):
        bpy.ops.scumble.use_recipe(image=painted("Own").name)


def test_asset_paint_and_clone(scumble: Any, server: RealServer) -> None:
    bpy.ops.scumble.generate_texture()
    assert bpy.ops.scumble.mark_asset() == {"FINISHED"}
    asset = bpy.data.objects["Cube"].active_material.asset_data
    assert {tag.name for tag in asset.tags} >= {"scumble", "weathered", "bricks"}
    paint = bpy.context.tool_settings.image_paint
    name = running().last_images[0]
    assert bpy.ops.scumble.use_image(use="PAINT") == {"FINISHED"}
    assert (paint.mode, paint.canvas.name) == ("IMAGE", name)
    assert bpy.ops.scumble.use_image(use="CLONE") == {"FINISHED"}
    assert paint.clone_image.name == name


def test_what_is_faster_with_a_loss_reaches_the_server(scumble: Any, server: RealServer) -> None:
    for name, value, wrong in (
        ("denoiser_precision", "fp8", "fp8"),
        ("block_cache", 0.1, "block cache"),
    ):
        setattr(scumble, name, value)
        with pytest.raises(RuntimeError, match=wrong):
            bpy.ops.scumble.generate_texture()
        scumble.property_unset(name)


def test_loras_styles_and_models_reach_the_server(scumble: Any, server: RealServer) -> None:
    bpy.ops.scumble.check_server()
    assert MODEL in [name for name, _ in running().catalogue.models]
    bpy.ops.scumble.add_lora()
    scumble.loras[0].name = "no-such-lora"
    with pytest.raises(RuntimeError, match="no-such-lora"):
        bpy.ops.scumble.generate_texture()
    bpy.ops.scumble.remove_lora(number=0)
    scumble.style = "no-such-style"
    with pytest.raises(RuntimeError, match="no-such-style"):
        bpy.ops.scumble.generate_texture()


def test_shortcuts_and_presets(scumble: Any) -> None:
    config = bpy.context.window_manager.keyconfigs.addon
    found = {item.idname for keymap in config.keymaps for item in keymap.keymap_items}
    assert {"scumble.generate_texture", "scumble.repaint_image", "scumble.paint_mask"} <= found
    scumble.strength, scumble.prompt = 0.35, "of a preset"
    assert bpy.ops.scumble.add_preset(name="mine") == {"FINISHED"}
    (path,) = [p for p in map(Path, bpy.utils.preset_paths("scumble")) if (p / "mine.py").is_file()]
    scumble.strength, scumble.prompt = 0.9, ""
    bpy.ops.script.execute_preset(filepath=str(path / "mine.py"), menu_idname="SCUMBLE_MT_presets")
    assert (round(scumble.strength, 2), scumble.prompt) == (0.35, "of a preset")


@pytest.mark.parametrize(
    ("editor", "parts"),
    [
        ("view3d", "texture repaint project restyle live fromimage model speed history"),
        ("image_editor", "texture repaint restyle live fromimage model speed history"),
        ("node_editor", "texture repaint fromimage model speed history"),
    ],
)
def test_panels_stand_where_artists_are(scumble: Any, editor: str, parts: str) -> None:
    found = {name for name in dir(bpy.types) if name.startswith(f"SCUMBLE_PT_{editor}_")}
    assert found == {f"SCUMBLE_PT_{editor}_{part}" for part in parts.split()}


@pytest.mark.parametrize("place", ["ACTIVE", "PAINT", "CLONE"])
def test_a_texture_is_put_to_use(scumble: Any, server: RealServer, place: str) -> None:
    old = painted()
    node = textured_cube(old).active_material.node_tree.nodes.active
    scumble.place = place
    assert bpy.ops.scumble.generate_texture() == {"FINISHED"}
    made = bpy.data.images[running().last_images[0]]
    paint = bpy.context.scene.tool_settings.image_paint
    match place:
        case "ACTIVE":
            assert node.image == made
            assert running().status.note.startswith(
                f"Made the image '{made.name}' in the place of 'Hand'"
            )
            assert "Hand" in bpy.data.images
        case "PAINT":
            assert (paint.mode, paint.canvas) == ("IMAGE", made)
        case "CLONE":
            assert paint.clone_image == made
    assert (node.image == old) is (place != "ACTIVE")


def test_the_active_image_must_be_there(scumble: Any, server: RealServer) -> None:
    scumble.place = "ACTIVE"
    with pytest.raises(RuntimeError, match="There is no image to work on"):
        bpy.ops.scumble.generate_texture()


def test_an_assets_preview_is_its_texture(scumble: Any, server: RealServer, tmp_path: Path) -> None:
    bpy.ops.scumble.generate_texture()
    bpy.ops.scumble.mark_asset()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "asset.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "asset.blend"))
    material = bpy.data.materials["Material"]
    assert material.asset_data.description == "weathered red bricks"
    assert tuple(material.preview.image_size) == (256, 256)
    assert len(set(material.preview.image_pixels_float[:4000])) > 50


def test_the_preferences_choose_a_model(scumble: Any, preferences: Any, server: RealServer) -> None:
    preferences.default_model = "no-such-model"
    with pytest.raises(RuntimeError, match="no-such-model"):
        bpy.ops.scumble.generate_texture()
    scumble.model = MODEL
    assert bpy.ops.scumble.generate_texture() == {"FINISHED"}


def test_memory_is_told_and_given_back(scumble: Any, preferences: Any, server: RealServer) -> None:
    bpy.ops.scumble.generate_texture()
    bpy.ops.scumble.check_server()
    told = addon("preferences").memory_lines()
    assert re.search(r"has [\d.]+ of [\d.]+ GB free", told[0])
    assert re.search(r"Up to \d+ x \d+ px", told[1])
    asked: list[str] = []
    session = running().session
    session.free = lambda wanted: asked.append(wanted.data_dir)
    try:
        assert bpy.ops.scumble.free_memory() == {"FINISHED"}
        bpy.context.scene.render.engine = "BLENDER_WORKBENCH"
        bpy.context.scene.render.resolution_percentage = 5
        bpy.ops.render.render()
        assert asked == [server.data_dir], "a render takes nothing unless it was chosen"
        preferences.free_on_render = True
        bpy.ops.render.render()
        assert asked == [server.data_dir] * 2
        preferences.address = "gpu.example.org:47110"
        bpy.ops.render.render()
        assert len(asked) == 2, "a server of its own keeps its models"
    finally:
        del session.free
