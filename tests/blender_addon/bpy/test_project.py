"""Project from view in a real Blender: what its cameras see, modifiers and all, against its own ray casts."""

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

SIDE = 256


def running() -> Any:
    return addon("host.controller").get()


def smooth(side: int = SIDE, **options: Any) -> bpy.types.Image:
    """A byte image without steps."""
    image = bpy.data.images.new("Smooth", side, side, **options)
    image.pixels.foreach_set(smooth_pixels(side).ravel())
    return image


def smooth_pixels(side: int) -> np.ndarray:
    y, x = (np.mgrid[0:side, 0:side] + 0.5) / side
    rgba = np.ones((side, side, 4), np.float32)
    rgba[..., 0] = 0.5 + 0.4 * np.sin(2 * np.pi * x)
    rgba[..., 1] = 0.5 + 0.4 * np.cos(2 * np.pi * y)
    rgba[..., 2] = 0.5 + 0.4 * np.sin(2 * np.pi * (x + y))
    return np.asarray(np.rint(rgba * 255) / 255, np.float32)


def suzanne_behind_a_cube(image: bpy.types.Image) -> bpy.types.Object:
    """Subdivided twice by a modifier, unwrapped; a cube stands before a part of her, both with the same material."""
    cube = textured_cube(image)
    bpy.ops.mesh.primitive_monkey_add(size=2, location=(0, 0, 0))
    monkey = bpy.context.active_object
    monkey.data.materials.append(cube.active_material)
    monkey.modifiers.new("s", "SUBSURF").levels = 2
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.uv.smart_project(island_margin=0.02)
    bpy.ops.object.mode_set(mode="OBJECT")
    cube.location, cube.scale = (0, -2.2, 1.0), (0.4, 0.4, 0.4)
    camera = bpy.data.objects["Camera"]
    camera.location, camera.rotation_euler = (0, -7.5, 0.3), (np.pi / 2, 0, 0)
    bpy.context.view_layer.update()
    return monkey


class Scene:
    """What the bridge gets of it."""

    def __init__(self, image: bpy.types.Image, target: bpy.types.Object, side: int = 1280) -> None:
        self.source = addon("host.images").read_source(image)
        self.subject = addon("host.subject").gather(bpy.context, target, image)
        (self.view,) = addon("host.subject").views(bpy.context, "CAMERA", side)
        self.sheets = addon("bridge.sheets").Sheets.of({0: (SIDE, SIDE)})

    def paint(self, client: IdentityClient) -> np.ndarray:
        """The baked texture, bytes, row 0 at the bottom, one row a texel."""
        wish = addon("bridge.projection").ProjectRequest(
            "x", (self.source,), self.subject, (self.view,), seed=1
        )
        (picture,) = wish.paint(client, client.ask)
        made = addon("host.images").create_image(picture, "x")
        return np.asarray(np.rint(pixels(made) * 255).astype(int).reshape(-1, 4)[:, :3])

    def texels(self) -> Any:
        look = addon("bridge.bake").look_at(self.view, self.subject, self.sheets)
        return look, addon("bridge.texels").texels_seen(look, self.subject, self.sheets)

    def points(self) -> Any:
        """Of every texel that a face covers and that is turned to the view: place and world point."""
        return addon("bridge.bake").turned_texels(self.view, self.subject, self.sheets, 0.12)


def free(points: np.ndarray, slack: float = 1e-4) -> np.ndarray:
    """Which points Blender's own ray from the camera reaches, with nothing before them."""
    start = bpy.data.objects["Camera"].matrix_world.translation
    depsgraph = bpy.context.evaluated_depsgraph_get()
    found = np.zeros(len(points), bool)
    for number, point in enumerate(points):
        towards = point - np.array(start)
        distance = float(np.linalg.norm(towards))
        hit, where, *_ = bpy.context.scene.ray_cast(depsgraph, start, towards / distance)
        found[number] = not hit or (where - start).length > distance * (1 - slack)
    return found


def test_visible_texels_are_those_that_blenders_rays_reach(scumble: Any) -> None:
    image = smooth()
    scene = Scene(image, suzanne_behind_a_cube(image))
    assert 10_000 < scene.subject.target.sum() < len(scene.subject.target)
    _, texels = scene.texels()
    found = np.zeros(SIDE * SIDE, bool)
    found[texels.place] = True
    points = scene.points()
    # Texels that one triangle covers, so that place and point are one to one.
    _, index, count = np.unique(points.place, return_index=True, return_counts=True)
    chosen = index[count == 1]
    place, reached = points.place[chosen], free(points.point[chosen])
    assert reached.sum() > 4000
    assert (~reached).sum() > 500
    assert not (found[place] & ~reached).any(), "painted although something is in front"
    assert (found[place] & reached).sum() >= 0.999 * reached.sum()


def test_identity_through_suzanne_keeps_every_bit(scumble: Any) -> None:
    image = smooth()
    scene = Scene(image, suzanne_behind_a_cube(image))
    before = scene.source.to_wire()[::-1].reshape(-1, 4)[:, :3]
    islands = scene.sheets.islands(scene.subject.target_uv)
    assert np.array_equal(scene.paint(IdentityClient())[islands], before[islands])


def test_a_photograph_becomes_the_texture_within_2_of_255(scumble: Any) -> None:
    blank = bpy.data.images.new("Blank", SIDE, SIDE)
    blank.pixels.foreach_set(np.full(SIDE * SIDE * 4, 128 / 255, np.float32))
    scene = Scene(blank, suzanne_behind_a_cube(blank))
    look, texels = scene.texels()
    known = smooth_pixels(SIDE).reshape(-1, 4)[:, :3]
    photograph = np.rint(look.colors(known)[0][::-1] * 255).astype(np.uint8)
    baked = scene.paint(IdentityClient(picture=photograph))
    whole = texels.place[(texels.amount == 1) & ~texels.guessed]
    assert len(whole) > 4000
    off = np.abs(baked[whole] - known[whole] * 255).max(axis=1)
    assert off.max() <= 2.01


def test_nothing_lands_on_hidden_faces_or_other_objects(scumble: Any) -> None:
    image = smooth()
    monkey = suzanne_behind_a_cube(image)
    scene = Scene(image, monkey)
    before = scene.source.to_wire()[::-1].reshape(-1, 4)[:, :3]
    changed = (scene.paint(IdentityClient((255, 0, 0))) != before).any(axis=1)
    _, texels = scene.texels()
    seen = np.zeros(SIDE * SIDE, bool)
    seen[texels.place] = True
    islands = scene.sheets.islands(scene.subject.target_uv)
    assert not (changed & islands & ~seen).any()
    assert (changed & seen).sum() > 0.95 * seen.sum()


def test_project_onto_udim_tiles(scumble: Any, server: RealServer, tmp_path: Path) -> None:
    image = bpy.data.images.new("Tiles", 64, 64, tiled=True)
    for number in (1002, 1003):
        image.tiles.new(number)
    encode = addon("bridge.png").encode_png
    gray = np.full((64, 64, 3), 128, np.uint8)
    for number in (1001, 1002, 1003):
        (tmp_path / f"t.{number}.png").write_bytes(encode(gray))
    image.filepath = str(tmp_path / "t.<UDIM>.png")
    image.reload()
    cube = textured_cube(image)
    for polygon in cube.data.polygons:
        if polygon.normal.z > 0.5:
            for loop in polygon.loop_indices:
                cube.data.uv_layers.active.data[loop].uv[0] += 1.0
    scumble.view_size, scumble.strength, scumble.control = 96, 1.0, "NONE"
    assert bpy.ops.scumble.project_view() == {"FINISHED"}
    made = bpy.data.images[running().last_images[0]]
    assert [tile.number for tile in made.tiles] == [1001, 1002, 1003]
    read = {
        s.tile: s.to_wire()[..., :3]
        for s in addon("host.tiles").read_sources(made, (1001, 1002, 1003))
    }
    changed = {number: (array != 128).any(axis=2).mean() for number, array in read.items()}
    assert changed[1001] > 0.02
    assert 0.02 < changed[1002] < 0.35
    assert changed[1003] == 0


def test_auto_control_paints_without_what_the_server_lacks(
    scumble: Any, server: RealServer
) -> None:
    textured_cube(painted())
    scumble.view_size, scumble.control = 64, "AUTO"
    assert bpy.ops.scumble.project_view() == {"FINISHED"}
    assert "Painted without the depth and normal of the view" in running().status.note


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
    "case", ["light", "no uv", "no camera", "nothing seen", "no selection", "control", "no tile"]
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
        "no tile": "lies in none of the tiles",
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
        case "no tile":
            scumble.image = bpy.data.images.new("Tiles", 8, 8, tiled=True)
            scumble.image.tiles[0].number = 1005
        case "control":
            scumble.control = "DEPTH"
    with pytest.raises(RuntimeError, match=sentence):
        bpy.ops.scumble.project_view()
