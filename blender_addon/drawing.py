"""Pieces of the panels: the server's line, the progress bar, the strip of variations, paragraphs."""

import textwrap

import bpy

from . import preferences
from .bridge.status import Status
from .host import controller

_CHARACTER_PIXELS = (
    6.5  # average width of the interface font at scale 1; labels do not wrap by themselves
)
_STRIP_COLUMNS = 4


def draw_server(
    layout: bpy.types.UILayout, context: bpy.types.Context, scumble: controller.Controller
) -> None:
    """Who answers, and Start, Stop, Check."""
    status, refusal = scumble.status, preferences.online_refusal(context)
    reachable = status.server_reachable and not refusal
    column = layout.column(align=True)
    row = column.row()
    text = column.column(align=True)
    draw_text(
        text, context, refusal or status.server, icon="CHECKMARK" if reachable else "UNLINKED"
    )
    row.label(text="Server")
    buttons = row.row(align=True)
    if scumble.server_process.running:
        buttons.operator("scumble.stop_server", text="", icon="CANCEL")
    elif status.server_reachable is False:
        buttons.operator("scumble.start_server", text="Start", icon="PLAY")
    buttons.operator("scumble.check_server", text="", icon="FILE_REFRESH")
    if not reachable:
        show = buttons.operator("preferences.addon_show", text="", icon="PREFERENCES")
        show.module = preferences.PACKAGE


def draw_progress(layout: bpy.types.UILayout, status: Status) -> None:
    """The bar, with Cancel beside it."""
    row = layout.row(align=True)
    row.scale_y = 1.4
    row.progress(factor=status.fraction, type="BAR", text=status.progress_text)
    row.operator("scumble.cancel_generation", text="", icon="X")


def draw_variations(layout: bpy.types.UILayout, scumble: controller.Controller) -> None:
    """A strip of thumbnails to pick from."""
    grid = layout.grid_flow(columns=_STRIP_COLUMNS, even_columns=True, align=True, row_major=True)
    for number in range(len(scumble.variations)):
        column = grid.column(align=True)
        if icon := scumble.preview.strip_icon_id(number):
            column.template_icon(icon_value=icon, scale=3.5)
        chosen = number == scumble.chosen
        column.operator(
            "scumble.choose_variation", text=str(number + 1), depress=chosen
        ).number = number
    row = layout.row(align=True)
    row.operator("scumble.accept_variation", icon="CHECKMARK").keep_all = False
    row.operator("scumble.accept_variation", text="Keep All").keep_all = True
    row.operator("scumble.discard_variations", text="", icon="TRASH")


def draw_text(layout: bpy.types.UILayout, context: bpy.types.Context, text: str, icon: str) -> None:
    """A paragraph, wrapped to the sidebar's width."""
    pixels = _CHARACTER_PIXELS * context.preferences.system.ui_scale
    width = max(20, int((context.region.width - 60) / pixels)) if context.region else 40
    column = layout.column(align=True)
    column.scale_y = 0.8
    for number, line in enumerate(textwrap.wrap(text, width)):
        column.label(text=line, icon=icon if number == 0 else "BLANK1")
