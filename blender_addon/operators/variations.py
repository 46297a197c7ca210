"""Pick from the variations: choose, accept, keep all, discard."""

import bpy

from ..host import controller, windows


class _OfVariations:
    """Only while there are some."""

    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Something to pick from, and nothing being painted."""
        return bool(controller.get().variations) and not controller.get().busy


class SCUMBLE_OT_choose_variation(_OfVariations, bpy.types.Operator):
    """Look at this variation; Accept takes it"""

    bl_idname = "scumble.choose_variation"
    bl_label = "Choose Variation"

    number: bpy.props.IntProperty(
        name="Number", description="Counted from 0", default=0, min=0, options={"SKIP_SAVE"}
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Shows it large."""
        scumble = controller.get()
        if self.number >= len(scumble.variations):
            self.report({"ERROR"}, f"There are variations 0 to {len(scumble.variations) - 1}.")
            return {"CANCELLED"}
        scumble.choose(self.number)
        windows.redraw_panels()
        return {"FINISHED"}


class SCUMBLE_OT_accept_variation(_OfVariations, bpy.types.Operator):
    """Take the chosen variation; the others are forgotten"""

    bl_idname = "scumble.accept_variation"
    bl_label = "Accept"

    keep_all: bpy.props.BoolProperty(
        name="Keep All", description="Keep the others as images of the file", default=False, options={"SKIP_SAVE"},
    )  # fmt: skip

    @classmethod
    def description(
        cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties
    ) -> str:
        """The tooltip of this button."""
        return (
            "Take the chosen variation and keep the others as images of the file"
            if properties.keep_all
            else "Take the chosen variation; the others are forgotten"
        )

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Lays it into the file as one undo step."""
        scumble = controller.get()
        if self.keep_all:
            scumble.keep_all(scumble.chosen)
        else:
            scumble.accept(scumble.chosen)
        if scumble.status.error:
            self.report({"ERROR"}, scumble.status.error)
            return {"CANCELLED"}
        return {"FINISHED"}


class SCUMBLE_OT_discard_variations(_OfVariations, bpy.types.Operator):
    """Forget all variations; the file stays as it is"""

    bl_idname = "scumble.discard_variations"
    bl_label = "Discard"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Forgets them."""
        scumble = controller.get()
        scumble.discard()
        scumble.preview.clear()
        scumble.status.note = "Discarded"
        return {"FINISHED"}
