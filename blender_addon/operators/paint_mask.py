"""Paint where to repaint, on a mask of the image's own; the texture is never touched."""

import bpy
import numpy as np

from ..bridge.errors import BridgeError, Refused
from ..host import active, controller, tiles
from .tell import refuse


class SCUMBLE_OT_paint_mask(bpy.types.Operator):
    """Switch painting to the image's own mask and back: white is repainted. The texture stays as it is"""

    bl_idname = "scumble.paint_mask"
    bl_label = "Paint Mask"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Mask -> texture if the mask is shown or painted on, else texture -> mask (made if there is none)."""
        try:
            image = active.image(context)
            mask = image.scumble_mask or _new_mask(image)
        except BridgeError as error:
            return refuse(self, str(error))
        controller.get().status.error = ""
        settings = context.scene.scumble
        editor = active.space(context)
        if editor is not None:
            back = editor.image == mask
            editor.image = image if back else mask
            if not back:
                editor.mode = "PAINT"
        else:
            paint = context.tool_settings.image_paint
            back = paint.mode == "IMAGE" and paint.canvas == mask
            paint.mode, paint.canvas = ("MATERIAL", None) if back else ("IMAGE", mask)
        if not back:
            settings.mask = "LAYER"
            _white_brush(context)
        return {"FINISHED"}


class SCUMBLE_OT_clear_mask(bpy.types.Operator):
    """Forget what is painted on the image's mask"""

    bl_idname = "scumble.clear_mask"
    bl_label = "Clear Mask"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only where there is a mask."""
        image = active.find_image(context)
        return image is not None and image.scumble_mask is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Black again."""
        image = active.image(context)
        mask = image.scumble_mask
        if mask.source == "TILED":
            tiles.clear_mask(mask)
            mask.update_tag()
            return {"FINISHED"}
        black = np.zeros((mask.size[0] * mask.size[1], 4), np.float32)
        black[:, 3] = 1
        mask.pixels.foreach_set(black.ravel())
        mask.update()
        mask.update_tag()
        return {"FINISHED"}


def _new_mask(image: bpy.types.Image) -> bpy.types.Image:
    """Black, of the image's size or tiles, kept with it."""
    if image.library is not None:
        raise Refused(f"'{image.name}' is linked from another file and cannot get a mask here.")
    if image.source == "TILED":
        image.scumble_mask = tiles.create_mask(image, f"{image.name} mask")
        return image.scumble_mask
    width, height = image.size
    if not (width and height):
        raise Refused(f"'{image.name}' cannot have a painted mask: it has no pixels.")
    mask = bpy.data.images.new(f"{image.name} mask", width, height, alpha=False, is_data=True)
    image.scumble_mask = mask
    return mask


def _white_brush(context: bpy.types.Context) -> None:
    brush = getattr(context.tool_settings.image_paint, "brush", None)
    if brush is None:
        return
    # Brushes of Blender's own library cannot be changed before 5.0; then the artist picks white.
    unified = getattr(context.tool_settings, "unified_paint_settings", None)
    unified = getattr(context.tool_settings.image_paint, "unified_paint_settings", None) or unified
    if unified is not None and unified.use_unified_color:
        unified.color = (1, 1, 1)
    elif brush.library is None:
        brush.color = (1, 1, 1)
