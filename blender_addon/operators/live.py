"""Live painting: on, off, a picture now, and keep it."""

import time
from collections.abc import Callable

import bpy

from .. import preferences
from ..bridge.errors import BridgeError, Refused
from ..host import active, controller, main_thread, windows
from .tell import refuse

_FIRST_SECONDS = 600.0
"""A script waits so long for a picture: the model may have to be loaded first."""


class SCUMBLE_OT_start_live(bpy.types.Operator):
    """Repaint the active image as you paint on it. Your image is only read; the picture is an image of its own"""

    bl_idname = "scumble.start_live"
    bl_label = "Paint Live"
    bl_options = {"REGISTER"}

    wait: bpy.props.BoolProperty(
        name="Wait", description="Return when the first picture is there: for scripts. Always so without a window",
        default=False, options={"HIDDEN", "SKIP_SAVE"},
    )  # fmt: skip

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """One at a time."""
        return not controller.get().live.running

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Opens the session; the clock does the rest."""
        if sentence := preferences.online_refusal(context):
            return refuse(self, sentence)
        settings, live = context.scene.scumble, controller.get().live
        try:
            canvas = active.image(context)
            if not settings.prompt.strip():
                raise Refused("Type a prompt first: what should your painting become?")
            settings.new_seed()
            view = live.start(
                preferences.get(context).to_server(),
                canvas,
                settings.to_live_wish(canvas),
                on_object=settings.live_show == "OBJECT",
            )
        except BridgeError as error:
            return refuse(self, str(error))
        controller.get().status.error = ""
        if settings.live_show == "BESIDE":
            windows.show_beside(context, view)
        windows.push_undo("Scumble: Paint Live")
        if self.wait or bpy.app.background:
            return _wait(self, context, lambda: live.answered(1))
        main_thread.hurry()
        return {"FINISHED"}


class SCUMBLE_OT_stop_live(bpy.types.Operator):
    """Stop repainting. The last picture stays to be looked at until the file is saved; Keep makes it an image"""

    bl_idname = "scumble.stop_live"
    bl_label = "Stop Live"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """While it runs."""
        return controller.get().live.running

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ends the session."""
        controller.get().live.end("Live painting is off.")
        windows.redraw_panels()
        return {"FINISHED"}


class SCUMBLE_OT_update_live(bpy.types.Operator):
    """Repaint the canvas as it is now and return when the picture is there: for scripts, as there is no clock \
without a window"""

    bl_idname = "scumble.update_live"
    bl_label = "Update Live"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """While it runs."""
        return controller.get().live.running

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Settings and canvas as they are now."""
        live = controller.get().live
        live.tick(context.scene.scumble.to_live_wish())
        number = live.offer_now() if live.running else 0
        return _wait(self, context, lambda: live.answered(number))


class SCUMBLE_OT_keep_live(bpy.types.Operator):
    """Keep the picture as an image of the file, packed, with its recipe"""

    bl_idname = "scumble.keep_live"
    bl_label = "Keep"
    bl_options = {"REGISTER"}

    wait: bpy.props.BoolProperty(
        name="Wait", description="Return when the image is there: for scripts. Always so without a window",
        default=False, options={"HIDDEN", "SKIP_SAVE"},
    )  # fmt: skip

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Once there is a picture, also after it was switched off."""
        live = controller.get().live
        return live.has_picture and not live.keeping

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Encodes it in the background; the clock makes it an image."""
        scumble = controller.get()
        if not scumble.live.keep():
            self.report({"ERROR"}, "There is no live picture to keep yet.")
            return {"CANCELLED"}
        if not (self.wait or bpy.app.background):
            main_thread.hurry()
            return {"FINISHED"}
        wish = context.scene.scumble.to_live_wish()
        while scumble.live.keeping:
            scumble.live.tick(wish)
            time.sleep(0.01)
        scumble.last_images = [scumble.live.kept_image]
        self.report({"INFO"}, f"Kept as '{scumble.live.kept_image}'.")
        return {"FINISHED"}


def _wait(
    operator: bpy.types.Operator, context: bpy.types.Context, done: Callable[[], bool]
) -> set[str]:
    live = controller.get().live
    deadline = time.monotonic() + _FIRST_SECONDS
    while live.running and time.monotonic() < deadline:
        finished = done()
        live.tick(context.scene.scumble.to_live_wish())
        if finished:
            return {"FINISHED"}
        time.sleep(0.01)
    live.tick(context.scene.scumble.to_live_wish())
    if live.running:
        live.end("Live painting ended: no picture came for ten minutes.")
    operator.report({"ERROR"}, live.told)
    return {"CANCELLED"}
