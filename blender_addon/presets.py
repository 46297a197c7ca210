"""Presets of the panel's settings, kept where Blender keeps its own."""

import bpy
from bl_operators.presets import AddPresetBase

_VALUES = (
    "prompt", "negative_prompt", "width", "height", "seamless", "num_inference_steps", "guidance_auto",
    "guidance_scale", "model", "scheduler", "style", "structure", "few_step", "guidance_end",
    "block_cache", "denoiser_precision", "count", "maps", "height_as", "margin",
    "strength", "exact", "repaint_seamless", "place", "target", "control", "live_strength", "live_size", "live_steps",
    "live_show", "restyle_strength", "upscale_factor",
)  # fmt: skip


class SCUMBLE_MT_presets(bpy.types.Menu):
    """Presets of Scumble's settings"""

    bl_label = "Scumble Presets"
    preset_subdir = "scumble"
    preset_operator = "script.execute_preset"
    draw = bpy.types.Menu.draw_preset


class SCUMBLE_OT_add_preset(AddPresetBase, bpy.types.Operator):
    """Save the settings as a preset, or remove the chosen one"""

    bl_idname = "scumble.add_preset"
    bl_label = "Scumble Preset"
    preset_menu = "SCUMBLE_MT_presets"
    preset_defines = ["scumble = bpy.context.scene.scumble"]
    preset_values = [f"scumble.{name}" for name in _VALUES]
    preset_subdir = "scumble"


def draw(layout: bpy.types.UILayout) -> None:
    """The menu with its plus and minus."""
    row = layout.row(align=True)
    row.menu("SCUMBLE_MT_presets", text="Presets")
    row.operator("scumble.add_preset", text="", icon="ADD")
    row.operator("scumble.add_preset", text="", icon="REMOVE").remove_active = True


def register() -> None:
    bpy.utils.register_class(SCUMBLE_MT_presets)
    bpy.utils.register_class(SCUMBLE_OT_add_preset)


def unregister() -> None:
    bpy.utils.unregister_class(SCUMBLE_OT_add_preset)
    bpy.utils.unregister_class(SCUMBLE_MT_presets)
