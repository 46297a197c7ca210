"""Paint a texture from the panel's settings."""

import bpy

from .. import preferences
from ..host import controller, main_thread, materials


class SCUMBLE_OT_generate_texture(bpy.types.Operator):
    """Paint a texture from the prompt. It goes on in the background; the result is one undo step"""

    bl_idname = "scumble.generate_texture"
    bl_label = "Generate Texture"
    # No UNDO: this only starts the work. The result pushes its own step when it arrives.
    bl_options = {"REGISTER"}

    wait: bpy.props.BoolProperty(
        name="Wait", description="Return when the texture is there, or fail with the reason: for scripts. "
        "Always so without a window",
        default=False, options={"HIDDEN", "SKIP_SAVE"},
    )  # fmt: skip

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """One at a time."""
        if controller.get().busy:
            cls.poll_message_set("Scumble is already painting")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Starts the generation."""
        settings = context.scene.scumble
        if not settings.prompt.strip():
            self.report({"ERROR"}, "Type a prompt first: what should the texture show?")
            return {"CANCELLED"}
        if sentence := preferences.online_refusal(context):
            self.report({"ERROR"}, sentence)
            return {"CANCELLED"}
        scumble = controller.get()
        scumble.generate(
            preferences.get(context).to_server(),
            settings.to_request(),
            materials.destination(context, settings.place),
            editor=_image_editor(context),
        )
        if self.wait or bpy.app.background:
            return self._wait(scumble)
        main_thread.hurry()
        return {"FINISHED"}

    def _wait(self, scumble: controller.Controller) -> set[str]:
        main_thread.wait()
        status = scumble.status
        if status.error:
            self.report({"ERROR"}, status.error)
        elif status.note:
            self.report({"INFO"}, status.note)
        return {"FINISHED"} if scumble.last_images else {"CANCELLED"}


def _image_editor(context: bpy.types.Context) -> int:
    """Pointer of the Image Editor the operator was called in, or 0."""
    area = context.area
    return area.as_pointer() if area is not None and area.type == "IMAGE_EDITOR" else 0
