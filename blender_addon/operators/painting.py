"""What all operators that paint have in common: refusing in one sentence, starting, and waiting where asked to."""

from collections.abc import Callable

import bpy

from .. import preferences
from ..bridge.errors import BridgeError
from ..bridge.request import Work
from ..host import controller, main_thread
from ..host.landing import Landing
from .tell import refuse


class PaintingOperator:
    """Mix-in of the operators that start a generation. A subclass says what to paint and where it goes."""

    # No UNDO: this only starts the work. The result pushes its own step when it arrives.
    bl_options = {"REGISTER"}
    report: Callable[[set[str], str], None]

    wait: bpy.props.BoolProperty(
        name="Wait", description="Return when the result is there, or fail with the reason: for scripts. "
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

    @classmethod
    def poll_message_set(cls, message: str) -> None:
        """Blender's own, of `bpy.types.Operator`."""
        super().poll_message_set(message)  # type: ignore[misc]

    def wish(self, context: bpy.types.Context) -> tuple[Work, Landing]:
        """What to paint and where it goes. Raises BridgeError with a sentence."""
        raise NotImplementedError

    def editor(self, context: bpy.types.Context) -> int:
        """Pointer of the Image Editor to show the result in; 0 for none."""
        return _image_editor(context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Starts the generation."""
        if sentence := preferences.online_refusal(context):
            return refuse(self, sentence)
        scumble = controller.get()
        try:
            work, where = self.wish(context)
            scumble.generate(
                preferences.get(context).to_server(), work, where, editor=self.editor(context)
            )
        except BridgeError as error:
            return refuse(self, str(error))
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
        return {"FINISHED"} if scumble.last_images or scumble.variations else {"CANCELLED"}


def _image_editor(context: bpy.types.Context) -> int:
    """Pointer of the Image Editor the operator was called in, or 0."""
    area = context.area
    return area.as_pointer() if area is not None and area.type == "IMAGE_EDITOR" else 0
