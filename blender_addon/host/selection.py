"""What the artist marked, taken from Blender as plain arrays; the bridge makes the mask of it."""

import bmesh
import bpy
import numpy as np

from ..bridge.errors import Refused
from ..bridge.masks import AlphaMask, FaceMask, ImageMask, MaskSource, TiledMask
from . import active, images, tiles


def take(context: bpy.types.Context, image: bpy.types.Image) -> MaskSource | None:
    """The mask that the settings name; None for the whole image. Raises Refused with the way out."""
    settings = context.scene.scumble
    match settings.mask:
        case "WHOLE":
            return None
        case "ALPHA":
            return AlphaMask()
        case "LAYER":
            if image.scumble_mask is None:
                raise Refused(
                    f"'{image.name}' has no mask yet: press Paint Mask and paint where to repaint."
                )
            return _layer(image, image.scumble_mask)
        case "STENCIL":
            paint = context.tool_settings.image_paint
            if paint.stencil_image is None:
                raise Refused(
                    "There is no stencil: make one in Texture Paint mode, sidebar > Tool > Masking > Stencil Mask."
                )
            # Where the brush paints: black, or white once the stencil is inverted.
            return _image_mask(paint.stencil_image, inverted=not paint.invert_stencil)
        case "UV":
            return FaceMask(_triangles(context, image, by_uv=True), settings.margin)
    return FaceMask(_triangles(context, image, by_uv=False), settings.margin)


def _layer(image: bpy.types.Image, mask: bpy.types.Image) -> MaskSource:
    if mask.source != "TILED":
        return _image_mask(mask)
    if image.source != "TILED":
        raise Refused(
            f"The mask '{mask.name}' has UDIM tiles and '{image.name}' has none: choose another mask image."
        )
    sources = tiles.read_sources(mask, tiles.numbers(mask))
    return TiledMask({s.tile: ImageMask(s.flat, s.width, s.height) for s in sources})


def _image_mask(image: bpy.types.Image, *, inverted: bool = False) -> ImageMask:
    source = images.read_source(image)
    return ImageMask(source.flat, source.width, source.height, inverted)


def _triangles(context: bpy.types.Context, image: bpy.types.Image, *, by_uv: bool) -> np.ndarray:
    """UV triangles (n x 3 x 2) of what is selected in the meshes being edited, else in the active object."""
    edited = list(getattr(context, "objects_in_mode_unique_data", None) or ())
    objects = edited if context.mode == "EDIT_MESH" else [context.active_object]
    found = []
    for target in objects:
        if target is None or target.type != "MESH":
            continue
        mesh = target.data
        if not mesh.uv_layers:
            raise Refused(f"'{target.name}' has no UV map: unwrap it first (Edit Mode, U).")
        uses = [active.shows(slot.material, image) for slot in target.material_slots]
        if mesh.is_editmode:
            found += _edited_triangles(mesh, uses, context, by_uv=by_uv)
        else:
            if by_uv:
                raise Refused(
                    "Selected UVs are known in Edit Mode only: enter it, or choose Selected Faces."
                )
            found += _object_triangles(mesh, uses)
    if not found:
        what = "UVs" if by_uv else "faces"
        raise Refused(
            f"No {what} are selected that show '{image.name}': select some in Edit Mode, or choose another mask."
        )
    return np.array(found, np.float64).reshape(-1, 3, 2)


def _counts(uses: list[bool], index: int) -> bool:
    """Whether a face with this material shows the image; all do where no material of the object has it."""
    return not any(uses) or (index < len(uses) and uses[index])


def _edited_triangles(
    mesh: bpy.types.Mesh, uses: list[bool], context: bpy.types.Context, *, by_uv: bool
) -> list[tuple[tuple[float, float], ...]]:
    edited = bmesh.from_edit_mesh(mesh)
    layer = edited.loops.layers.uv.verify()
    synchronised = context.tool_settings.use_uv_select_sync
    found = []
    for loops in edited.calc_loop_triangles():
        face = loops[0].face
        if face.hide or not _counts(uses, face.material_index):
            continue
        if by_uv and not synchronised:
            # The Image Editor shows the UVs of selected faces only.
            chosen = face.select and all(_uv_selected(loop, layer) for loop in face.loops)
        else:
            chosen = face.select
        if chosen:
            found.append(tuple((loop[layer].uv.x, loop[layer].uv.y) for loop in loops))
    return found


def _uv_selected(loop: bmesh.types.BMLoop, layer: bmesh.types.BMLayerItem) -> bool:
    """Blender 5.0 moved the selection of UVs from the UV layer to the corner."""
    if bpy.app.version >= (5, 0):
        return bool(loop.uv_select_vert)
    return bool(loop[layer].select)


def _object_triangles(
    mesh: bpy.types.Mesh, uses: list[bool]
) -> list[tuple[tuple[float, float], ...]]:
    """Faces that were selected when Edit Mode was left, or with paint mode's face mask."""
    mesh.calc_loop_triangles()
    selected = np.empty(len(mesh.polygons), bool)
    material = np.empty(len(mesh.polygons), np.int32)
    mesh.polygons.foreach_get("select", selected)
    mesh.polygons.foreach_get("material_index", material)
    count = len(mesh.loop_triangles)
    corners, faces = np.empty(count * 3, np.int32), np.empty(count, np.int32)
    mesh.loop_triangles.foreach_get("loops", corners)
    mesh.loop_triangles.foreach_get("polygon_index", faces)
    uv = np.empty(len(mesh.loops) * 2, np.float32)
    mesh.uv_layers.active.uv.foreach_get("vector", uv)
    counted = np.array([_counts(uses, index) for index in range(max(len(uses), 1))])
    kept = selected & counted[np.minimum(material, len(counted) - 1)]
    triangles = uv.reshape(-1, 2)[corners.reshape(-1, 3)]
    return list(triangles[kept[faces]])
