"""The list of LoRAs."""

import bpy


class SCUMBLE_OT_add_lora(bpy.types.Operator):
    """Add a LoRA: a small file on the server that changes what the model paints"""

    bl_idname = "scumble.add_lora"
    bl_label = "Add LoRA"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """An empty row."""
        context.scene.scumble.loras.add()
        return {"FINISHED"}


class SCUMBLE_OT_remove_lora(bpy.types.Operator):
    """Remove this LoRA from the list"""

    bl_idname = "scumble.remove_lora"
    bl_label = "Remove LoRA"
    bl_options = {"REGISTER", "UNDO"}

    number: bpy.props.IntProperty(
        name="Number", description="Counted from 0", default=0, min=0, options={"SKIP_SAVE"}
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        """That row."""
        context.scene.scumble.loras.remove(self.number)
        return {"FINISHED"}
