"""Which image the artist means."""

from typing import Any

import bpy

from ..bridge.errors import Refused


def find_image(context: bpy.types.Context) -> bpy.types.Image | None:
    """The chosen image, else what the Image Editor shows, what is painted on, or what the active material shows.

    A mask that is being painted stands for the image it belongs to.
    """
    found = (
        context.scene.scumble.image or _shown(context) or _painted(context) or _in_material(context)
    )
    if found is None:
        return None
    return next((image for image in bpy.data.images if image.scumble_mask == found), found)


def image(context: bpy.types.Context) -> bpy.types.Image:
    """As `find_image`; raises Refused where there is none."""
    found = find_image(context)
    if found is None:
        raise Refused(
            "There is no image to work on: open one in the Image Editor, or select an object whose material has an "
            "image texture."
        )
    return found


def space(context: bpy.types.Context) -> Any:
    """The Image Editor the call comes from, or None."""
    data = context.space_data
    return data if data is not None and data.type == "IMAGE_EDITOR" else None


def _shown(context: bpy.types.Context) -> bpy.types.Image | None:
    editor = space(context)
    shown = editor.image if editor is not None else None
    return shown if shown is not None and shown.type in ("IMAGE", "UV_TEST") else None


def _painted(context: bpy.types.Context) -> bpy.types.Image | None:
    if context.mode != "PAINT_TEXTURE":
        return None
    paint = context.tool_settings.image_paint
    if paint.mode == "IMAGE":
        return paint.canvas
    material = getattr(context.active_object, "active_material", None)
    slots = list(material.texture_paint_images) if material is not None else []
    index = material.paint_active_slot if material is not None else 0
    return slots[index] if index < len(slots) else None


def _in_material(context: bpy.types.Context) -> bpy.types.Image | None:
    material = getattr(context.active_object, "active_material", None)
    if material is None or material.node_tree is None:
        return None
    nodes = material.node_tree.nodes
    if nodes.active is not None and nodes.active.type == "TEX_IMAGE" and nodes.active.image:
        return nodes.active.image
    textures = [node for node in nodes if node.type == "TEX_IMAGE" and node.image]
    for principled in (node for node in nodes if node.type == "BSDF_PRINCIPLED"):
        for link in principled.inputs["Base Color"].links:
            if link.from_node in textures:
                return link.from_node.image
    return textures[0].image if textures else None


def shows(material: bpy.types.Material | None, wanted: bpy.types.Image) -> bool:
    """Whether a material has the image in one of its nodes."""
    if material is None or material.node_tree is None:
        return False
    return any(n.type == "TEX_IMAGE" and n.image == wanted for n in material.node_tree.nodes)
