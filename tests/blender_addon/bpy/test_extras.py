"""Variations, maps, upscaling, recipes, assets, presets, shortcuts, projection: each by its operator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from tests.blender_addon.identity import IdentityClient
from tests.real_server import RealServer

from .conftest import addon
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
    scumble.seamless, scumble.negative_prompt = "x", "moss"
    bpy.ops.scumble.generate_texture()
    first = running().last_images[0]
    was = pixels(bpy.data.images[first])
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    settings = bpy.context.scene.scumble
    settings.prompt, settings.negative_prompt, settings.seamless = "other", "", "none"
    settings.width = 16
    assert bpy.ops.scumble.generate_again(image=first) == {"FINISHED"}
    assert (settings.prompt, settings.seamless, settings.width) == ("weathered red bricks", "x", 72)
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


def test_loras_styles_and_models_reach_the_server(scumble: Any, server: RealServer) -> None:
    bpy.ops.scumble.check_server()
    assert "tiny" in [name for name, _ in running().catalogue.models]
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


def test_panels_stand_where_artists_are(scumble: Any) -> None:
    for editor in ("view3d", "image_editor", "node_editor"):
        for part in ("", "_texture", "_repaint", "_project", "_fromimage", "_model", "_history"):
            assert hasattr(bpy.types, f"SCUMBLE_PT_{editor}{part}")


def smooth(side: int = 256) -> bpy.types.Image:
    """A byte image without steps."""
    y, x = (np.mgrid[0:side, 0:side] + 0.5) / side
    rgba = np.ones((side, side, 4), np.float32)
    rgba[..., 0] = 0.5 + 0.4 * np.sin(2 * np.pi * x)
    rgba[..., 1] = 0.5 + 0.4 * np.cos(2 * np.pi * y)
    rgba[..., 2] = 0.5 + 0.4 * np.sin(2 * np.pi * (x + y))
    image = bpy.data.images.new("Smooth", side, side)
    image.pixels.foreach_set((np.rint(rgba * 255) / 255).ravel())
    return image


def test_projection_through_modifiers_and_past_another_object(scumble: Any) -> None:
    image = smooth()
    cube = textured_cube(image)
    material = cube.active_material
    bpy.ops.mesh.primitive_monkey_add(size=2, location=(0, 0, 0))
    monkey = bpy.context.active_object
    monkey.data.materials.append(material)
    monkey.modifiers.new("s", "SUBSURF").levels = 2
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.uv.smart_project(island_margin=0.02)
    bpy.ops.object.mode_set(mode="OBJECT")
    cube.location = (0, -2.2, 1.0)
    cube.scale = (0.4, 0.4, 0.4)
    camera = bpy.data.objects["Camera"]
    camera.location, camera.rotation_euler = (0, -6, 0.3), (np.pi / 2, 0, 0)
    bpy.context.view_layer.update()
    module, projection = addon("host.subject"), addon("bridge.projection")
    subject = module.gather(bpy.context, monkey, image)
    assert 10_000 < subject.target.sum() < len(subject.target)
    (view,) = module.views(bpy.context, "CAMERA", 512)
    source = addon("host.images").read_source(image)
    before = source.to_wire()

    bake = addon("bridge.bake")
    texture = before[::-1, :, :3] / 255
    colors, _, _, seen = bake.render(view, subject, texture)
    texels = bake.texels_seen(view, subject, seen, 256, 256)
    assert len(texels.place) > 3000
    error = np.abs(texels.sample(colors) - texture.reshape(-1, 3)[texels.place]).max(axis=1)
    assert np.percentile(error, 99) <= 2 / 255

    red = projection.ProjectRequest("x", source, subject, (view,), seed=1)
    client = IdentityClient((255, 0, 0))
    (picture,) = red.paint(client, client.ask)
    made = addon("host.images").create_image(picture, "x")
    after = addon("host.images").read_source(made).to_wire()[::-1].reshape(-1, 4)
    place = np.flatnonzero((after != before[::-1].reshape(-1, 4)).any(axis=1))
    assert set(place) >= set(texels.place[texels.amount > 0.5])
    # Each painted texel of a face is seen by the camera: nothing else is between them.
    depsgraph = bpy.context.evaluated_depsgraph_get()
    checked = hidden = 0
    for _, uv in centres(subject, place[:: max(1, len(place) // 2000)]):
        point = uv
        direction = point - np.array(camera.matrix_world.translation)
        distance = float(np.linalg.norm(direction))
        hit, where, _, _, _, _ = bpy.context.scene.ray_cast(
            depsgraph, camera.matrix_world.translation, direction / distance
        )
        checked += 1
        hidden += bool(hit and np.linalg.norm(np.array(where) - point) > 0.03)
    assert checked > 200
    assert hidden <= checked * 0.01, f"{hidden} of {checked} texels are hidden"

    same = IdentityClient()
    (picture,) = red.paint(same, same.ask)
    made = addon("host.images").create_image(picture, "y")
    kept = addon("host.images").read_source(made).to_wire()
    islands = red._islands()[::-1]
    assert np.abs(kept[islands].astype(int) - before[islands]).max() <= 2


def centres(subject: Any, places: np.ndarray) -> Any:
    """World points of texels of a 256 px texture."""
    uv = subject.uv[subject.target]
    triangles = subject.triangles[subject.target]
    a, b, c = uv[:, 0], uv[:, 1], uv[:, 2]
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1])
    for place in places:
        p = np.array([(place % 256 + 0.5) / 256, (place // 256 + 0.5) / 256])
        with np.errstate(all="ignore"):
            v = (
                (p[0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (p[1] - a[:, 1])
            ) / area
            w = (
                (b[:, 0] - a[:, 0]) * (p[1] - a[:, 1]) - (p[0] - a[:, 0]) * (b[:, 1] - a[:, 1])
            ) / area
        inside = np.flatnonzero((v >= 0) & (w >= 0) & (v + w <= 1))
        if len(inside):
            n = inside[0]
            yield (
                place,
                triangles[n, 0] * (1 - v[n] - w[n])
                + triangles[n, 1] * v[n]
                + triangles[n, 2] * w[n],
            )


def test_project_view_from_two_cameras(scumble: Any, server: RealServer) -> None:
    image = smooth(128)
    cube = textured_cube(image)
    before = pixels(image)
    other = bpy.data.objects["Camera"].copy()
    bpy.context.collection.objects.link(other)
    other.location = -bpy.data.objects["Camera"].location
    other.rotation_euler = (-other.location).to_track_quat("-Z", "Y").to_euler()
    for thing in bpy.data.objects:
        thing.select_set(thing.type == "CAMERA")
    bpy.context.view_layer.objects.active = cube
    scumble.view_from, scumble.view_size, scumble.strength = "CAMERAS", 96, 1.0
    assert bpy.ops.scumble.project_view() == {"FINISHED"}
    made = bpy.data.images[running().last_images[0]]
    assert cube.active_material.node_tree.nodes.active.image == made
    assert (pixels(made) != before).any(axis=2).mean() > 0.25
    assert np.array_equal(pixels(image), before)
    assert json.loads(made["scumble_recipe"])["task"] == "inpaint"


@pytest.mark.parametrize(
    "case", ["light", "no uv", "no camera", "nothing seen", "no selection", "control"]
)
def test_projection_refuses_in_one_sentence(scumble: Any, server: RealServer, case: str) -> None:
    cube = textured_cube(smooth(64))
    scumble.view_size = 64
    sentence = {
        "light": "Select the mesh to paint on",
        "no uv": "has no UV map",
        "no camera": "The scene has no camera",
        "nothing seen": "sees nothing of the object",
        "no selection": "No camera is selected",
        "control": "ontrol",
    }[case]
    match case:
        case "light":
            bpy.context.view_layer.objects.active = bpy.data.objects["Light"]
        case "no uv":
            cube.data.uv_layers.remove(cube.data.uv_layers[0])
        case "no camera":
            bpy.context.scene.camera = None
        case "nothing seen":
            cube.location = (1000, 1000, 0)
        case "no selection":
            scumble.view_from = "CAMERAS"
        case "control":
            scumble.control = "DEPTH"
    with pytest.raises(RuntimeError, match=sentence):
        bpy.ops.scumble.project_view()
