"""Stop the server that was started from here."""

import bpy

from ..host import controller


class SCUMBLE_OT_stop_server(bpy.types.Operator):
    """Stop the server that was started from Blender"""

    bl_idname = "scumble.stop_server"
    bl_label = "Stop Server"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only for a server that was started from here."""
        return controller.get().server_process.running

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ends the process."""
        controller.get().server_process.stop_soon()
        return {"FINISHED"}
