"""Stop painting."""

import bpy

from ..host import controller, main_thread


class SCUMBLE_OT_cancel_generation(bpy.types.Operator):
    """Stop painting; the file stays as it is"""

    bl_idname = "scumble.cancel_generation"
    bl_label = "Cancel"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only while something is being painted."""
        return controller.get().busy

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Frees the panel now; the server hears of it in the background."""
        controller.get().cancel()
        controller.get().pump()
        if not bpy.app.background:
            main_thread.hurry()
        return {"FINISHED"}
