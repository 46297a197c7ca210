"""Start the local server."""

from pathlib import Path

import bpy

from .. import preferences
from ..bridge.errors import CannotStart
from ..host import controller, main_thread
from .tell import refuse


class SCUMBLE_OT_start_server(bpy.types.Operator):
    """Start Scumble's server on this computer; it ends with Blender"""

    bl_idname = "scumble.start_server"
    bl_label = "Start Server"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Not twice."""
        return not controller.get().server_process.running

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Starts the process and returns; the panel shows when it answers."""
        chosen = preferences.get(context)
        folder = bpy.utils.extension_path_user(preferences.PACKAGE, path="logs", create=True)
        try:
            controller.get().server_process.start(
                chosen.server_command.strip(),
                chosen.to_server().data_dir,
                Path(folder) / "server.log",
            )
        except CannotStart as error:
            return refuse(self, str(error))
        controller.get().status.server = "Starting"
        if not bpy.app.background:
            main_thread.hurry()
        return {"FINISHED"}
