"""Where a texture goes. The rule: what the artist connected stays connected.

In this order, for the active object and its active material:
1. No material: a new one with a Principled BSDF is assigned.
2. The material has a Scumble texture node (found by its mark, wherever the artist moved it): it shows the new image.
3. The Principled BSDF's Base Color is free: the texture is connected to it.
4. Base Color is in use, or there is no Principled BSDF: nothing is touched; the image is in the file.
"New Material" always makes a new material in a new slot. The other places touch no material by themselves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import bpy

from ..bridge.pictures import Picture
from . import active, brushes, images, map_nodes

MARK = "scumble"
"""Custom property of the nodes Scumble made; its value names the map."""
_BASE_COLOR = "base_color"
_TYPES_WITH_SURFACE = {"MESH", "CURVE", "SURFACE", "FONT", "META"}
_BOX_BLEND = 0.25
_ADVICE = "Choose New Material to get one beside it."


@dataclass(frozen=True, slots=True)
class Destination:
    """Chosen when the artist pressed Generate. Ids are session_uid, which survive renaming and undo."""

    place: str
    """MATERIAL, NEW_SLOT, ACTIVE, PAINT, CLONE or IMAGE"""
    object_uid: int = 0
    """0: no object"""
    height_as: str = "BUMP"
    """BUMP, DISPLACEMENT or IMAGE"""
    image_uid: int = 0
    """ACTIVE: the image whose place the texture takes"""
    title: str = "Scumble: Generate Texture"

    def overwritten(self) -> None:
        """Nothing is: a texture is always a new image."""

    def lay(self, pictures: Sequence[Picture], prompt: str) -> tuple[list[bpy.types.Image], str]:
        """Makes the images and puts them where they belong."""
        made = [images.create_image(picture, prompt) for picture in pictures]
        maps = {picture.map_name: image for picture, image in zip(pictures, made, strict=True)}
        base = maps.pop("base_color", None) or maps.pop("", None)
        if base is None:
            return made, put_maps(maps, self)
        sentence = put(base, self)
        return made, f"{sentence} {put_maps(maps, self)}" if maps else sentence


def destination(context: bpy.types.Context, place: str) -> Destination:
    """Where a texture asked for now belongs."""
    target = context.active_object if place != "IMAGE" else None
    uid = target.session_uid if target else 0
    image_uid = active.image(context).session_uid if place == "ACTIVE" else 0
    return Destination(place, uid, context.scene.scumble.height_as, image_uid)


def put(image: bpy.types.Image, where: Destination) -> str:
    """Puts the image where it belongs; a sentence says what was done."""
    made = f"Made the image '{image.name}'"
    if where.place == "IMAGE":
        return f"{made}."
    if where.place in ("ACTIVE", "PAINT", "CLONE"):
        return f"{made} {_put_to_use(image, where)}"
    target = next((o for o in bpy.data.objects if o.session_uid == where.object_uid), None)
    if target is None:
        gone = "its object is gone" if where.object_uid else "no object was active"
        return f"{made} only: {gone}."
    if target.type not in _TYPES_WITH_SURFACE:
        return f"{made} only: '{target.name}' is not an object with a surface material."
    material = target.active_material
    if where.place == "NEW_SLOT" or material is None:
        return f"{made} {_give_new_material(target, image, new_slot=where.place == 'NEW_SLOT')}"
    return f"{made} {_put_into(material, target, image)}"


def put_maps(maps: Mapping[str, bpy.types.Image], where: Destination) -> str:
    """Connects normal, roughness and height beside Scumble's own texture node; a sentence says what was done."""
    names = ", ".join(name.replace("_", " ") for name in maps)
    made = f"Maps: {names}"
    if where.place == "IMAGE":
        return f"{made}."
    target = next((o for o in bpy.data.objects if o.session_uid == where.object_uid), None)
    material = target.active_material if target is not None else None
    if target is None or material is None or not material.is_editable:
        return f"{made}, as images only: there is no material of this file to connect them to."
    _ensure_nodes(material)
    principled = _principled(material)
    if principled is None:
        return f"{made}, as images only: the material '{material.name}' has no Principled BSDF."
    left_alone = map_nodes.connect(
        material, principled, maps, height_as=where.height_as, has_uv=_has_uv(target)
    )
    if left_alone:
        inputs = " and ".join(left_alone)
        return f"{made}, connected in '{material.name}' where nothing was; {inputs} in use, left alone."
    return f"{made}, connected in the material '{material.name}'."


def base_color(material: bpy.types.Material) -> bpy.types.Image | None:
    """The image that Scumble put there, else the one that feeds Base Color, or None."""
    if material.node_tree is None:
        return None
    nodes = [n for n in material.node_tree.nodes if n.type == "TEX_IMAGE" and n.image]
    marked = next((n for n in nodes if n.get(MARK) == _BASE_COLOR), None)
    if marked is not None:
        return marked.image
    principled = _principled(material)
    if principled is None or not principled.inputs["Base Color"].is_linked:
        return None
    node = principled.inputs["Base Color"].links[0].from_node
    return node.image if node in nodes else None


def _put_to_use(image: bpy.types.Image, where: Destination) -> str:
    if where.place == "PAINT":
        brushes.paint_on(bpy.context, image)
        return "and Texture Paint paints on it."
    if where.place == "CLONE":
        brushes.clone_from(bpy.context, image)
        return "and the Clone brush takes its colours from it."
    old = next((i for i in bpy.data.images if i.session_uid == where.image_uid), None)
    if old is None:
        return "only: the image whose place it should take is gone."
    images.swap(old, image)
    return f"in the place of '{old.name}', which stays in the file."


def new_material(image: bpy.types.Image, name: str, *, has_uv: bool) -> bpy.types.Material:
    """A Principled BSDF material that shows the image. Without a UV map it is projected from the sides of a box."""
    material = bpy.data.materials.new(name)
    _ensure_nodes(material)
    principled = _principled(material)
    if principled is None:
        raise RuntimeError("Blender made a material without a Principled BSDF")
    _connect_texture(material, principled, image, has_uv=has_uv)
    return material


def _give_new_material(target: bpy.types.Object, image: bpy.types.Image, *, new_slot: bool) -> str:
    if not _can_assign(target):
        return f"only: '{target.name}' is linked from another file."
    material = new_material(image, image.name, has_uv=_has_uv(target))
    if new_slot:
        target.data.materials.append(material)
        target.active_material_index = len(target.material_slots) - 1
        return f"and the material '{material.name}' in a new slot of '{target.name}'."
    target.active_material = material
    return f"and the material '{material.name}' on '{target.name}'."


def _put_into(
    material: bpy.types.Material, target: bpy.types.Object, image: bpy.types.Image
) -> str:
    if not material.is_editable:
        return f"only: the material '{material.name}' is linked from another file."
    _ensure_nodes(material)
    node = next((n for n in material.node_tree.nodes if n.get(MARK) == _BASE_COLOR), None)
    if node is not None:
        node.image = image
        material.node_tree.update_tag()
        return f"and showed it in the material '{material.name}'."
    principled = _principled(material)
    if principled is None:
        return f"only: the material '{material.name}' has no Principled BSDF. {_ADVICE}"
    if principled.inputs["Base Color"].is_linked:
        return f"only: Base Color of the material '{material.name}' is in use. {_ADVICE}"
    _connect_texture(material, principled, image, has_uv=_has_uv(target))
    return f"and connected it to Base Color of the material '{material.name}'."


def _connect_texture(
    material: bpy.types.Material,
    principled: bpy.types.ShaderNode,
    image: bpy.types.Image,
    *,
    has_uv: bool,
) -> None:
    """Texture Coordinate -> Mapping -> Image Texture -> Base Color, left of the Principled BSDF."""
    nodes, links = material.node_tree.nodes, material.node_tree.links
    texture = nodes.new("ShaderNodeTexImage")
    mapping = nodes.new("ShaderNodeMapping")
    coordinate = nodes.new("ShaderNodeTexCoord")
    x, y = principled.location
    for node, offset, label in (
        (texture, 320, "Scumble Base Color"),
        (mapping, 520, "Scumble Mapping"),
        (coordinate, 720, "Scumble Coordinate"),
    ):
        node.location = (x - offset, y)
        node.label = label
    texture[MARK] = _BASE_COLOR
    texture.image = image
    if not has_uv:
        texture.projection = "BOX"
        texture.projection_blend = _BOX_BLEND
    links.new(coordinate.outputs["UV" if has_uv else "Generated"], mapping.inputs["Vector"])
    links.new(mapping.outputs["Vector"], texture.inputs["Vector"])
    links.new(texture.outputs["Color"], principled.inputs["Base Color"])
    # Solid shading with texture colours, painting and baking look at the active node.
    nodes.active = texture


def _principled(material: bpy.types.Material) -> bpy.types.ShaderNode | None:
    """The Principled BSDF that feeds the material's output, or None."""
    output = material.node_tree.get_output_node("ALL")
    if output is None or not output.inputs["Surface"].is_linked:
        return None
    node = output.inputs["Surface"].links[0].from_node
    return node if node.type == "BSDF_PRINCIPLED" else None


def _ensure_nodes(material: bpy.types.Material) -> None:
    """Before 5.0 a material starts without nodes; later setting the switch is deprecated."""
    if bpy.app.version < (5, 0) and not material.use_nodes:
        material.use_nodes = True


def _has_uv(target: bpy.types.Object) -> bool:
    return target.type not in ("MESH", "META") or bool(getattr(target.data, "uv_layers", ()))


def _can_assign(target: bpy.types.Object) -> bool:
    return bool(target.is_editable and target.data.is_editable)
