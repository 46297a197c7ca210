"""The panel "Scumble" in the sidebars of the 3D viewport and the Image Editor. Draws; decides nothing."""

import textwrap

import bpy

from . import preferences
from .bridge.status import Status
from .host import controller

_CHARACTER_PIXELS = (
    6.5  # average width of the interface font at scale 1; labels do not wrap by themselves
)


class _ScumblePanel:
    """What both editors share."""

    bl_label = "Scumble"
    bl_category = "Scumble"
    bl_region_type = "UI"
    layout: bpy.types.UILayout  # set by Blender

    def draw(self, context: bpy.types.Context) -> None:
        """Called by Blender whenever the sidebar is drawn."""
        scumble = controller.get()
        scumble.panel_drawn()
        status = scumble.status
        layout = self.layout
        layout.use_property_decorate = False
        _draw_server(layout, context, scumble)
        _draw_settings(layout, context.scene.scumble)
        if scumble.busy:
            _draw_progress(layout, status)
        else:
            row = layout.row()
            row.scale_y = 1.4
            row.operator("scumble.generate_texture", text="Generate", icon="BRUSH_DATA")
        if icon := scumble.preview.icon_id:
            layout.template_icon(icon_value=icon, scale=8)
        if status.error:
            box = layout.box()
            box.alert = True
            _draw_text(box, context, status.error, icon="ERROR")
        elif status.note and not scumble.busy:
            _draw_text(layout, context, status.note, icon="CHECKMARK")


class SCUMBLE_PT_view3d(_ScumblePanel, bpy.types.Panel):
    """Sidebar of the 3D viewport"""

    bl_space_type = "VIEW_3D"


class SCUMBLE_PT_image_editor(_ScumblePanel, bpy.types.Panel):
    """Sidebar of the Image Editor"""

    bl_space_type = "IMAGE_EDITOR"


def _draw_server(
    layout: bpy.types.UILayout, context: bpy.types.Context, scumble: controller.Controller
) -> None:
    status, refusal = scumble.status, preferences.online_refusal(context)
    reachable = status.server_reachable and not refusal
    column = layout.column(align=True)
    row = column.row()
    text = column.column(align=True)
    _draw_text(
        text, context, refusal or status.server, icon="CHECKMARK" if reachable else "UNLINKED"
    )
    row.label(text="Server")
    buttons = row.row(align=True)
    if scumble.server_process.running:
        buttons.operator("scumble.stop_server", text="", icon="CANCEL")
    elif status.server_reachable is False:
        buttons.operator("scumble.start_server", text="Start", icon="PLAY")
    buttons.operator("scumble.check_server", text="", icon="FILE_REFRESH")


def _draw_settings(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    column = layout.column(align=True)
    column.prop(settings, "prompt", text="", placeholder="Prompt: what to paint")
    column.prop(settings, "negative_prompt", text="", placeholder="Negative prompt: what to avoid")
    row = layout.row(align=True)
    row.prop(settings, "width", text="W (0: auto)")
    row.prop(settings, "height", text="H (0: auto)")
    split = layout.split(factor=0.3)
    split.label(text="Seamless")
    split.row(align=True).prop(settings, "seamless", expand=True)
    row = layout.row(align=True)
    row.prop(settings, "num_inference_steps", text="Steps (0: auto)")
    row = layout.row(align=True)
    guidance = row.row(align=True)
    guidance.active = not settings.guidance_auto
    guidance.prop(settings, "guidance_scale", text="Guidance")
    row.prop(settings, "guidance_auto", text="Auto", toggle=True)
    row = layout.row(align=True)
    seed = row.row(align=True)
    seed.active = settings.lock_seed
    seed.prop(settings, "seed")
    row.prop(settings, "lock_seed", text="", icon="LOCKED" if settings.lock_seed else "UNLOCKED")
    layout.prop(settings, "place", text="Result")


def _draw_progress(layout: bpy.types.UILayout, status: Status) -> None:
    row = layout.row(align=True)
    row.scale_y = 1.4
    row.progress(factor=status.fraction, type="BAR", text=status.progress_text)
    row.operator("scumble.cancel_generation", text="", icon="X")


def _draw_text(
    layout: bpy.types.UILayout, context: bpy.types.Context, text: str, icon: str
) -> None:
    """A paragraph, wrapped to the sidebar's width."""
    pixels = _CHARACTER_PIXELS * context.preferences.system.ui_scale
    width = max(20, int((context.region.width - 60) / pixels)) if context.region else 40
    column = layout.column(align=True)
    column.scale_y = 0.8
    for number, line in enumerate(textwrap.wrap(text, width)):
        column.label(text=line, icon=icon if number == 0 else "BLANK1")


_CLASSES = (SCUMBLE_PT_view3d, SCUMBLE_PT_image_editor)


def register() -> None:
    for cls in _CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
