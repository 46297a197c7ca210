"""Where a texture goes: nothing the artist connected is touched."""

from __future__ import annotations

from typing import Any

import bpy
import pytest

from .conftest import addon


def put(place: str = "MATERIAL") -> str:
    """Puts a fresh image where the active object wants it."""
    materials = addon("host.materials")
    image = bpy.data.images.new("Texture", 4, 4)
    return materials.put(image, materials.destination(bpy.context, place))


def cube() -> bpy.types.Object:
    return bpy.data.objects["Cube"]


def graph(material: bpy.types.Material) -> set[tuple[str, str, str]]:
    """A material's links."""
    return {
        (link.from_node.name, link.to_node.name, link.to_socket.name)
        for link in material.node_tree.links
    }


def test_no_material_gets_a_new_one(scumble: Any) -> None:
    cube().data.materials.clear()
    assert "the material 'Texture' on 'Cube'" in put()
    assert graph(cube().active_material) == {
        ("Texture Coordinate", "Mapping", "Vector"),
        ("Mapping", "Image Texture", "Vector"),
        ("Image Texture", "Principled BSDF", "Base Color"),
        ("Principled BSDF", "Material Output", "Surface"),
    }


def test_an_empty_slot_is_filled(scumble: Any) -> None:
    cube().material_slots[0].material = None
    put()
    assert len(cube().material_slots) == 1
    assert cube().active_material.name == "Texture"


def test_a_used_base_color_is_left_alone(scumble: Any) -> None:
    material = cube().active_material
    tree = material.node_tree
    noise = tree.nodes.new("ShaderNodeTexNoise")
    tree.links.new(noise.outputs["Color"], tree.nodes["Principled BSDF"].inputs["Base Color"])
    before, nodes = graph(material), len(tree.nodes)
    assert "Base Color of the material 'Material' is in use" in put()
    assert graph(material) == before
    assert len(tree.nodes) == nodes
    assert len(cube().material_slots) == 1


def test_a_material_without_principled_is_left_alone(scumble: Any) -> None:
    tree = cube().active_material.node_tree
    tree.nodes.remove(tree.nodes["Principled BSDF"])
    assert "no Principled BSDF" in put()
    assert [node.name for node in tree.nodes] == ["Material Output"]


def test_our_node_is_found_wherever_the_artist_moved_it(scumble: Any) -> None:
    put()
    tree = cube().active_material.node_tree
    ramp = tree.nodes.new("ShaderNodeValToRGB")
    ours = tree.nodes["Image Texture"]
    base_color = tree.nodes["Principled BSDF"].inputs["Base Color"]
    tree.links.new(ours.outputs["Color"], ramp.inputs["Fac"])
    tree.links.new(ramp.outputs["Color"], base_color)
    before = graph(cube().active_material)
    assert "showed it in the material 'Material'" in put()
    assert ours.image.name == "Texture.001"
    assert graph(cube().active_material) == before


def test_a_new_slot_keeps_the_faces_as_they_are(scumble: Any) -> None:
    faces = [face.material_index for face in cube().data.polygons]
    assert "in a new slot of 'Cube'" in put("NEW_SLOT")
    assert [slot.material.name for slot in cube().material_slots] == ["Material", "Texture"]
    assert [face.material_index for face in cube().data.polygons] == faces


def test_image_only_touches_nothing_else(scumble: Any) -> None:
    before = graph(cube().active_material)
    assert put("IMAGE") == "Made the image 'Texture'."
    assert graph(cube().active_material) == before


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        pytest.param("Light", "'Light' is not an object with a surface material", id="light"),
        pytest.param(None, "no object was active", id="nothing active"),
    ],
)
def test_no_place_for_it(scumble: Any, name: str | None, sentence: str) -> None:
    bpy.context.view_layer.objects.active = bpy.data.objects[name] if name else None
    assert sentence in put()


def test_an_object_that_is_gone_or_renamed(scumble: Any) -> None:
    materials = addon("host.materials")
    where = materials.destination(bpy.context, "MATERIAL")
    cube().name = "Renamed"
    assert "connected it" in materials.put(bpy.data.images.new("A", 4, 4), where)
    bpy.data.objects.remove(bpy.data.objects["Renamed"])
    assert "its object is gone" in materials.put(bpy.data.images.new("B", 4, 4), where)


@pytest.mark.parametrize("has_uv", [True, False])
def test_a_mesh_without_uv_map_is_textured_from_the_sides(scumble: Any, has_uv: bool) -> None:
    if not has_uv:
        cube().data.uv_layers.remove(cube().data.uv_layers[0])
    put()
    nodes = cube().active_material.node_tree.nodes
    assert nodes["Image Texture"].projection == ("FLAT" if has_uv else "BOX")
    link = nodes["Mapping"].inputs["Vector"].links[0]
    assert link.from_socket.name == ("UV" if has_uv else "Generated")


def test_linked_data_is_not_touched(scumble: Any, tmp_path: Any) -> None:
    library = tmp_path / "library.blend"
    bpy.data.libraries.write(str(library), {cube()})
    with bpy.data.libraries.load(str(library), link=True) as (_, wanted):
        wanted.objects = ["Cube"]
    linked = wanted.objects[0]
    bpy.context.collection.objects.link(linked)
    bpy.context.view_layer.objects.active = linked
    assert "linked from another file" in put()
    assert "linked from another file" in put("NEW_SLOT")
