"""Repaint: from marks in Blender to an image in which only the marked pixels changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bmesh
import bpy
import numpy as np
import pytest

from tests.real_server import RealServer

from .conftest import addon

SIDE = 64


def pixels(image: bpy.types.Image) -> np.ndarray:
    """Blender's own values, bottom row first."""
    flat = np.empty(image.size[0] * image.size[1] * 4, np.float32)
    image.pixels.foreach_get(flat)
    return flat.reshape(image.size[1], image.size[0], 4)


def textured_cube(image: bpy.types.Image) -> bpy.types.Object:
    """The default cube shows the image."""
    cube = bpy.data.objects["Cube"]
    tree = cube.active_material.node_tree
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    tree.links.new(node.outputs["Color"], tree.nodes["Principled BSDF"].inputs["Base Color"])
    tree.nodes.active = node
    return cube


def painted(
    name: str = "Hand", *, float_buffer: bool = False, data: bool = False
) -> bpy.types.Image:
    """An image with unsaved paint on it: noise, half transparent in one corner."""
    image = bpy.data.images.new(
        name, SIDE, SIDE, alpha=True, float_buffer=float_buffer, is_data=data
    )
    noise = np.random.default_rng(3).random((SIDE, SIDE, 4)).astype(np.float32)
    if float_buffer:
        noise[..., :3] *= 3
        noise[..., 3] = 1
    else:
        noise = np.rint(noise * 255).astype(np.float32) / np.float32(255)
        noise[8:, :, 3] = 1
    image.pixels.foreach_set(noise.ravel())
    image.update()
    return image


def select_faces(cube: bpy.types.Object, *numbers: int) -> None:
    """In Edit Mode."""
    bpy.context.view_layer.objects.active = cube
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.context.tool_settings.mesh_select_mode = (False, False, True)
    mesh = bmesh.from_edit_mesh(cube.data)
    for face in mesh.faces:
        face.select_set(face.index in numbers)
    bmesh.update_edit_mesh(cube.data)


def face_rectangle(
    cube: bpy.types.Object, number: int, margin: int, side: int = SIDE
) -> np.ndarray:
    """The px of a face of the default cube, whose faces are rectangles in UV, by its corners."""
    mesh = cube.data
    loops = mesh.polygons[number].loop_indices
    uv = np.array([mesh.uv_layers.active.data[i].uv[:] for i in loops]) * side
    (x0, y0), (x1, y1) = uv.min(axis=0), uv.max(axis=0)
    centres = np.arange(side) + 0.5
    inside = np.zeros((side, side), bool)
    inside[np.ix_((centres >= y0) & (centres <= y1), (centres >= x0) & (centres <= x1))] = True
    return addon("bridge.raster").grown(inside, margin)


def repaint() -> bpy.types.Image:
    assert bpy.ops.scumble.repaint_image() == {"FINISHED"}
    return bpy.data.images[addon("host.controller").get().last_images[0]]


def refusal() -> str:
    with pytest.raises(RuntimeError) as error:
        bpy.ops.scumble.repaint_image()
    sentence = str(error.value).removeprefix("Error: ").strip()
    assert addon("host.controller").get().status.error == sentence
    return sentence


def changed(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    return (old != new).any(axis=2)


@pytest.mark.parametrize(
    ("float_buffer", "data", "margin"),
    [
        pytest.param(False, False, 0, id="bytes"),
        pytest.param(False, False, 3, id="bytes with margin"),
        pytest.param(False, True, 2, id="data"),
        pytest.param(True, False, 2, id="light above white"),
        pytest.param(True, True, 2, id="float data"),
    ],
)
def test_selected_faces_change_and_nothing_else(
    scumble: Any, server: RealServer, float_buffer: bool, data: bool, margin: int
) -> None:
    image = painted(float_buffer=float_buffer, data=data)
    cube = textured_cube(image)
    before = pixels(image)
    select_faces(cube, 2)
    scumble.margin = margin
    made = repaint()
    bpy.ops.object.mode_set(mode="OBJECT")
    wanted = face_rectangle(cube, 2, margin)
    after = pixels(made)
    assert not changed(before, after)[~wanted].any()
    assert changed(before, after)[wanted].mean() > 0.9
    assert np.array_equal(after[..., 3], before[..., 3])
    assert made.is_float == float_buffer
    assert made.colorspace_settings.name == image.colorspace_settings.name
    assert made.packed_file is not None
    assert np.array_equal(pixels(image), before), "the old image is as it was"
    assert json.loads(made["scumble_recipe"])


def test_a_new_image_takes_the_old_ones_place_and_undo_brings_it_back(
    scumble: Any, server: RealServer, tmp_path: Path
) -> None:
    cube = textured_cube(painted())
    node = cube.active_material.node_tree.nodes.active.name
    scumble.mask = "WHOLE"
    bpy.ops.ed.undo_push(message="before")
    made = repaint().name

    def shown() -> str:
        return bpy.data.objects["Cube"].active_material.node_tree.nodes[node].image.name

    assert shown() == made != "Hand"
    assert bpy.data.images["Hand"].use_fake_user
    bpy.ops.ed.undo()
    assert shown() == "Hand"
    bpy.ops.ed.redo()
    assert shown() == made
    now = pixels(bpy.data.images[made])
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    assert np.array_equal(pixels(bpy.data.images[made]), now)
    assert bpy.data.images["Hand"].size[0] == SIDE


@pytest.mark.parametrize("float_buffer", [False, True])
def test_into_the_image_itself_and_revert(
    scumble: Any, server: RealServer, tmp_path: Path, float_buffer: bool
) -> None:
    image = painted(float_buffer=float_buffer)
    cube = textured_cube(image)
    before, count = pixels(image), len(bpy.data.images)
    select_faces(cube, 0)
    scumble.target = "SAME"
    assert repaint() == image
    bpy.ops.object.mode_set(mode="OBJECT")
    wanted = face_rectangle(cube, 0, 2)
    after = pixels(image)
    assert not changed(before, after)[~wanted].any()
    assert changed(before, after)[wanted].mean() > 0.9
    assert len(bpy.data.images) == count
    path = tmp_path / "a.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path), copy=True)
    assert bpy.ops.scumble.revert_image() == {"FINISHED"}
    assert np.array_equal(pixels(image), before)
    assert not bpy.ops.scumble.revert_image.poll()
    bpy.ops.wm.open_mainfile(filepath=str(path))
    assert np.array_equal(pixels(bpy.data.images["Hand"]), after)


def test_selected_uvs(scumble: Any, server: RealServer) -> None:
    image = painted()
    cube = textured_cube(image)
    select_faces(cube, 0, 1, 2, 3, 4, 5)
    bpy.context.tool_settings.use_uv_select_sync = False
    mesh = bmesh.from_edit_mesh(cube.data)
    layer = mesh.loops.layers.uv.verify()
    mesh.faces.ensure_lookup_table()
    for face in mesh.faces:
        for loop in face.loops:
            if bpy.app.version >= (5, 0):
                loop.uv_select_vert = face.index == 4
            else:
                loop[layer].select = face.index == 4
    bmesh.update_edit_mesh(cube.data)
    scumble.mask = "UV"
    before = pixels(image)
    after = pixels(repaint())
    bpy.ops.object.mode_set(mode="OBJECT")
    wanted = face_rectangle(cube, 4, 2)
    assert not changed(before, after)[~wanted].any()
    assert changed(before, after)[wanted].mean() > 0.9
    assert "Edit Mode only" in refusal()


def test_painted_mask_never_touches_the_texture(scumble: Any, server: RealServer) -> None:
    image = painted()
    textured_cube(image)
    scumble.mask = "LAYER"
    assert "has no mask yet" in refusal()
    before = pixels(image)
    assert bpy.ops.scumble.paint_mask() == {"FINISHED"}
    paint = bpy.context.tool_settings.image_paint
    mask = image.scumble_mask
    assert (paint.mode, paint.canvas) == ("IMAGE", mask)
    assert "mask is empty" in refusal()
    drawn = pixels(mask)
    drawn[10:30, 40:60, :3] = 1
    mask.pixels.foreach_set(drawn.ravel())
    bpy.ops.scumble.paint_mask()
    assert paint.mode == "MATERIAL"
    made = repaint()
    wanted = np.zeros((SIDE, SIDE), bool)
    wanted[10:30, 40:60] = True
    assert not changed(before, pixels(made))[~wanted].any()
    assert changed(before, pixels(made))[wanted].mean() > 0.9
    assert made.scumble_mask == mask
    assert bpy.ops.scumble.clear_mask() == {"FINISHED"}
    assert "mask is empty" in refusal()


def test_stencil_means_where_the_brush_paints(scumble: Any, server: RealServer) -> None:
    image = painted()
    textured_cube(image)
    scumble.mask = "STENCIL"
    assert "There is no stencil" in refusal()
    stencil = bpy.data.images.new("Stencil", SIDE // 2, SIDE // 2)
    black = pixels(stencil)
    black[..., :3] = 1
    black[:16, :, :3] = 0
    stencil.pixels.foreach_set(black.ravel())
    paint = bpy.context.tool_settings.image_paint
    paint.stencil_image = stencil
    before = pixels(image)
    differs = changed(before, pixels(repaint()))
    assert not differs[32:].any()
    assert differs[:32].mean() > 0.9
    paint.invert_stencil = True
    scumble.image = image
    differs = changed(before, pixels(repaint()))
    assert not differs[:32].any()
    assert differs[32:].mean() > 0.9


def test_what_was_erased_is_painted_and_opaque(scumble: Any, server: RealServer) -> None:
    image = painted()
    erased = pixels(image)
    erased[..., 3] = 1
    erased[20:40, 20:40, 3] = 0
    image.pixels.foreach_set(erased.ravel())
    textured_cube(image)
    scumble.mask = "ALPHA"
    after = pixels(repaint())
    wanted = np.zeros((SIDE, SIDE), bool)
    wanted[20:40, 20:40] = True
    assert (after[..., 3] == 1).all()
    assert not changed(erased, after)[~wanted].any()
    assert changed(erased[..., :3], after[..., :3])[wanted].mean() > 0.9


def test_a_seamless_texture_stays_one(scumble: Any, server: RealServer) -> None:
    bpy.ops.scumble.generate_texture()
    image = bpy.data.images[addon("host.controller").get().last_images[0]]
    assert scumble.seamless_of(image) == "xy"
    scumble.mask = "WHOLE"
    assert json.loads(repaint()["scumble_recipe"])["seamless"] == "xy"


def test_every_bad_situation_is_one_sentence(scumble: Any, server: RealServer) -> None:
    assert "There is no image to work on" in refusal()
    image = painted()
    cube = textured_cube(image)
    for polygon in cube.data.polygons:
        polygon.select = False
    assert "No faces are selected that show 'Hand'" in refusal()
    scumble.mask, scumble.prompt = "WHOLE", " "
    assert "Type a prompt first" in refusal()
    scumble.prompt, scumble.mask = "moss", "FACES"
    cube.data.uv_layers.remove(cube.data.uv_layers[0])
    assert "'Cube' has no UV map" in refusal()
    missing = bpy.data.images.new("Missing", 8, 8)
    missing.source, missing.filepath = "FILE", "//nowhere.png"
    scumble.image, scumble.mask = missing, "WHOLE"
    assert "its file is missing" in refusal()
    empty = bpy.data.images.new("Empty", 8, 8)
    empty.pack(data=b"not a picture", data_len=13)
    empty.source = "FILE"
    assert tuple(empty.size) == (0, 0)
    scumble.image = empty
    assert "'Empty' has no pixels that can be read" in refusal()
    scumble.image = None
    bpy.data.images.remove(empty)
    bpy.data.images.remove(missing)


def test_a_read_only_file_stays_as_it_is(scumble: Any, server: RealServer, tmp_path: Path) -> None:
    """What is repainted is packed; the artist's files are never written, whether or not they could be."""
    path = tmp_path / "wall.png"
    noise = np.random.default_rng(1).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    path.write_bytes(addon("bridge.png").encode_png(noise))
    stored = path.read_bytes()
    path.chmod(0o444)
    image = bpy.data.images.load(str(path))
    textured_cube(image)
    scumble.mask, scumble.target = "WHOLE", "SAME"
    assert repaint() == image
    assert path.read_bytes() == stored
    assert image.packed_file is not None
    note = addon("host.controller").get().status.note
    assert "It is packed now; the file 'wall.png' stays as it was." in note


def test_a_linked_image_is_not_written_into(
    scumble: Any, server: RealServer, tmp_path: Path
) -> None:
    image = painted()
    image.pack()
    library = tmp_path / "library.blend"
    bpy.data.libraries.write(str(library), {image})
    bpy.data.images.remove(image)
    with bpy.data.libraries.load(str(library), link=True) as (_, wanted):
        wanted.images = ["Hand"]
    textured_cube(wanted.images[0])
    scumble.mask, scumble.target = "WHOLE", "SAME"
    assert "linked from another file" in refusal()
    scumble.target = "NEW"
    assert repaint().library is None
