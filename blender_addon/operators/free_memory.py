"""Give the memory of the server's models back."""

import bpy

from .. import preferences
from ..host import controller
from .tell import refuse


class SCUMBLE_OT_free_memory(bpy.types.Operator):
    """Take the server's models off the graphics card; the next texture waits until they are back"""

    bl_idname = "scumble.free_memory"
    bl_label = "Free Memory Now"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """While nothing is painted."""
        scumble = controller.get()
        return not scumble.busy and not scumble.live.running

    def execute(self, context: bpy.types.Context) -> set[str]:
        """In the background."""
        if sentence := preferences.online_refusal(context):
            return refuse(self, sentence)
        controller.get().session.free(preferences.get(context).to_server())
        return {"FINISHED"}
