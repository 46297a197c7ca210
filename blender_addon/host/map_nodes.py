"""Nodes for material maps. Scumble's own nodes are found by their mark and reused; what the artist connected stays."""

from collections.abc import Mapping

import bpy

MARK = "scumble"
_BOX_BLEND = 0.25
_BUMP_DISTANCE = 0.05  # m; the height map's whole range
_ROWS = {"roughness": -300, "normal": -600, "height": -900, "ambient_occlusion": -1200}


def connect(
    material: bpy.types.Material,
    principled: bpy.types.ShaderNode,
    maps: Mapping[str, bpy.types.Image],
    *,
    height_as: str,
    has_uv: bool,
) -> list[str]:
    """Adds or updates a texture node for each map and connects it where the input is free.

    Roughness -> Roughness; Normal -> Normal Map -> Normal; Height -> Bump -> Normal, over the normal map if there is
    one, or -> Displacement. Returns the inputs that were left alone because something else is connected.
    """
    tree = material.node_tree
    left_alone: list[str] = []
    textures = {
        name: _texture(tree, principled, name, image, has_uv) for name, image in maps.items()
    }

    if texture := textures.get("roughness"):
        _link_free(tree, texture.outputs["Color"], principled.inputs["Roughness"], left_alone)

    normal = principled.inputs["Normal"]
    if texture := textures.get("normal"):
        node = _own(tree, "ShaderNodeNormalMap", "normal_map", principled, (-240, _ROWS["normal"]))
        tree.links.new(texture.outputs["Color"], node.inputs["Color"])
        bump = _find(tree, "bump")
        goal = bump.inputs["Normal"] if bump is not None and normal.is_linked else normal
        _link_free(tree, node.outputs["Normal"], goal, left_alone)

    if texture := textures.get("height"):
        if height_as == "BUMP":
            _bump(tree, principled, texture, left_alone)
        elif height_as == "DISPLACEMENT":
            _displace(material, principled, texture, left_alone)
    material.node_tree.update_tag()
    return left_alone


def _bump(
    tree: bpy.types.NodeTree,
    principled: bpy.types.ShaderNode,
    texture: bpy.types.ShaderNode,
    left_alone: list[str],
) -> None:
    known = _find(tree, "bump")
    node = known or _own(tree, "ShaderNodeBump", "bump", principled, (-240, _ROWS["height"]))
    if known is None:
        node.inputs["Distance"].default_value = _BUMP_DISTANCE
    tree.links.new(texture.outputs["Color"], node.inputs["Height"])
    normal, own = principled.inputs["Normal"], _find(tree, "normal_map")
    if own is not None and normal.is_linked and normal.links[0].from_node == own:
        tree.links.new(own.outputs["Normal"], node.inputs["Normal"])
        tree.links.new(node.outputs["Normal"], normal)
    else:
        _link_free(tree, node.outputs["Normal"], normal, left_alone)


def _displace(
    material: bpy.types.Material,
    principled: bpy.types.ShaderNode,
    texture: bpy.types.ShaderNode,
    left_alone: list[str],
) -> None:
    tree = material.node_tree
    known = _find(tree, "displacement")
    node = known or _own(
        tree, "ShaderNodeDisplacement", "displacement", principled, (-240, _ROWS["height"])
    )
    if known is None:
        node.inputs["Scale"].default_value = _BUMP_DISTANCE
    tree.links.new(texture.outputs["Color"], node.inputs["Height"])
    output = tree.get_output_node("ALL").inputs["Displacement"]
    _link_free(tree, node.outputs["Displacement"], output, left_alone)
    if output.is_linked and output.links[0].from_node == node:
        material.displacement_method = "BOTH"


def _texture(
    tree: bpy.types.NodeTree,
    principled: bpy.types.ShaderNode,
    name: str,
    image: bpy.types.Image,
    has_uv: bool,
) -> bpy.types.ShaderNode:
    """The marked texture node of a map, with the same coordinates as the base colour's."""
    known = _find(tree, name)
    if known is not None:
        known.image = image
        return known
    node = _own(tree, "ShaderNodeTexImage", name, principled, (-560, _ROWS.get(name, -300)))
    node.image = image
    node.label = f"Scumble {name.replace('_', ' ').title()}"
    if not has_uv:
        node.projection, node.projection_blend = "BOX", _BOX_BLEND
    base = _find(tree, "base_color")
    source = (
        base.inputs["Vector"].links[0].from_socket
        if base is not None and base.inputs["Vector"].is_linked
        else None
    )
    if source is None:
        mapping = _find(tree, "mapping")
        if mapping is None:
            mapping = _own(tree, "ShaderNodeMapping", "mapping", principled, (-760, -300))
            coordinate = _own(tree, "ShaderNodeTexCoord", "coordinate", principled, (-960, -300))
            tree.links.new(
                coordinate.outputs["UV" if has_uv else "Generated"], mapping.inputs["Vector"]
            )
        source = mapping.outputs["Vector"]
    tree.links.new(source, node.inputs["Vector"])
    return node


def _own(
    tree: bpy.types.NodeTree,
    kind: str,
    name: str,
    beside: bpy.types.ShaderNode,
    offset: tuple[int, int],
) -> bpy.types.ShaderNode:
    """The node of ours with this mark; made if there is none."""
    node = _find(tree, name)
    if node is None:
        active = tree.nodes.active
        node = tree.nodes.new(kind)
        node[MARK] = name
        node.location = (beside.location[0] + offset[0], beside.location[1] + offset[1])
        tree.nodes.active = active  # painting and solid shading go by the active node
    return node


def _find(tree: bpy.types.NodeTree, name: str) -> bpy.types.ShaderNode | None:
    return next((node for node in tree.nodes if node.get(MARK) == name), None)


def _link_free(
    tree: bpy.types.NodeTree,
    output: bpy.types.NodeSocket,
    goal: bpy.types.NodeSocket,
    left_alone: list[str],
) -> None:
    """Connects, unless something of the artist's is connected there."""
    if not goal.is_linked:
        tree.links.new(output, goal)
    elif goal.links[0].from_node.get(MARK) is None:
        left_alone.append(goal.name)
