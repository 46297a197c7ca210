"""Take back what was written into an image: Blender's undo does not know pixels."""

import bpy

from ..host import controller, windows


class SCUMBLE_OT_revert_image(bpy.types.Operator):
    """Give the image that was last repainted in place its pixels back"""

    bl_idname = "scumble.revert_image"
    bl_label = "Revert"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only after something was written into an image that is still there."""
        return controller.get().kept.image() is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Writes the kept pixels."""
        scumble = controller.get()
        name = scumble.kept.restore()
        scumble.status.note = f"'{name}' is as it was before."
        windows.redraw_editors()
        return {"FINISHED"}
