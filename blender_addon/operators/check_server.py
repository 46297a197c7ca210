"""Ask the server who it is."""

import bpy

from .. import preferences
from ..host import controller, main_thread
from .tell import refuse


class SCUMBLE_OT_check_server(bpy.types.Operator):
    """Ask the server whether it is there, and which device and model it has"""

    bl_idname = "scumble.check_server"
    bl_label = "Check Server"
    bl_options = {"REGISTER"}

    wait: bpy.props.BoolProperty(
        name="Wait", description="Return when the server has answered: for scripts",
        default=False, options={"HIDDEN", "SKIP_SAVE"},
    )  # fmt: skip

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Asks in the background; the panel shows the answer."""
        if sentence := preferences.online_refusal(context):
            return refuse(self, sentence)
        scumble = controller.get()
        scumble.check(preferences.get(context).to_server())
        if not (self.wait or bpy.app.background):
            main_thread.hurry()
            return {"FINISHED"}
        main_thread.wait()
        if not scumble.status.server_reachable:
            self.report({"ERROR"}, scumble.status.server)
            return {"CANCELLED"}
        self.report({"INFO"}, scumble.status.server)
        return {"FINISHED"}
