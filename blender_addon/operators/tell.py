"""Say a sentence in Blender's status bar and Info log, where the artist's own operator ended long ago."""

import bpy

from ..host import controller, windows

_SOON = 0.01  # s


class SCUMBLE_OT_tell(bpy.types.Operator):
    """Report a sentence. Reports are shown for operators that Blender's own event loop runs, so this waits for its
    next event"""

    bl_idname = "scumble.tell"
    bl_label = "Scumble"
    bl_options = {"INTERNAL"}

    sentence: bpy.props.StringProperty(name="Sentence", options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Waits for an event of its own."""
        self._timer = context.window_manager.event_timer_add(_SOON, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """A warning: an error would open a pop-up under the artist's hand."""
        context.window_manager.event_timer_remove(self._timer)
        self.report({"WARNING"}, self.sentence)
        return {"FINISHED", "PASS_THROUGH"}


def refuse(operator: bpy.types.Operator, sentence: str) -> set[str]:
    """Says in the status bar and in the panel why an operator did nothing; RuntimeError for a script."""
    scumble = controller.get()
    scumble.status.error, scumble.status.busy = sentence, scumble.busy
    windows.redraw_panels()
    operator.report({"ERROR"}, sentence)
    return {"CANCELLED"}
