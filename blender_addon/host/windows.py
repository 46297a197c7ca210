"""Windows, editors and undo. Headless there are no windows, and all of it does nothing or works without."""

from collections.abc import Iterator

import bpy

_EDITORS_WITH_PANEL = {"VIEW_3D", "IMAGE_EDITOR", "NODE_EDITOR"}


def redraw_panels() -> None:
    """Draws the sidebars anew, and not the viewports beside them: a heavy scene must not pay for a progress bar."""
    for area in _areas():
        if area.type in _EDITORS_WITH_PANEL:
            for region in area.regions:
                if region.type == "UI":
                    region.tag_redraw()


def redraw_editors() -> None:
    """Draws the editors that show the result anew, viewports and all."""
    for area in _areas():
        if area.type in _EDITORS_WITH_PANEL:
            area.tag_redraw()


def show_image(image: bpy.types.Image, editor: int) -> None:
    """Opens the image in the editor with this pointer, if it is still an Image Editor."""
    for area in _areas():
        if area.as_pointer() == editor and area.type == "IMAGE_EDITOR":
            area.spaces.active.image = image


def redraw_showing(image: bpy.types.Image, *, materials: bool) -> None:
    """Draws the Image Editors that show the image anew, and the viewports where materials show it."""
    for area in _areas():
        shown = area.type == "IMAGE_EDITOR" and area.spaces.active.image == image
        if shown or (materials and area.type == "VIEW_3D"):
            area.tag_redraw()


def show_beside(context: bpy.types.Context, image: bpy.types.Image) -> None:
    """Opens the image in an Image Editor other than the one the call comes from; where there is none, that editor is
    split. Does nothing without a window."""
    if context.window is None or context.area is None:
        return
    here = context.area
    others = [a for a in context.screen.areas if a.ui_type == "IMAGE_EDITOR" and a != here]
    shown = next((a for a in others if a.spaces.active.image == image), None)
    other = shown or next(iter(others), None)
    if other is None:
        before = {area.as_pointer() for area in context.screen.areas}
        region = next(r for r in here.regions if r.type == "WINDOW")
        with context.temp_override(area=here, region=region):
            bpy.ops.screen.area_split(direction="VERTICAL", factor=0.5)
        other = next(a for a in context.screen.areas if a.as_pointer() not in before)
        other.ui_type = "IMAGE_EDITOR"
        other.spaces.active.show_region_ui = False
    other.spaces.active.image = image
    other.spaces.active.mode = "VIEW"


def tell(sentence: str) -> None:
    """Reports a sentence in the status bar, as operators do. Does nothing without a window."""
    for window in bpy.context.window_manager.windows[:1]:
        with bpy.context.temp_override(window=window):
            bpy.ops.scumble.tell("INVOKE_DEFAULT", sentence=sentence)


def editor_for_render(context: bpy.types.Context) -> int:
    """Pointer of the Image Editor to show a restyled render in: the one the call comes from, else one that shows a
    render or nothing; 0 if there is none."""
    if context.area is not None and context.area.type == "IMAGE_EDITOR":
        return int(context.area.as_pointer())
    for area in context.screen.areas if context.screen is not None else ():
        if area.ui_type == "IMAGE_EDITOR":
            shown = area.spaces.active.image
            if shown is None or shown.type == "RENDER_RESULT":
                return int(area.as_pointer())
    return 0


def push_undo(message: str) -> None:
    """One undo step for what was done since the last one. A timer has no window of its own, so one is lent to it."""
    manager = bpy.context.window_manager
    if bpy.context.window is not None or not manager.windows:
        if bpy.ops.ed.undo_push.poll():
            bpy.ops.ed.undo_push(message=message)
        return
    with bpy.context.temp_override(window=manager.windows[0]):
        bpy.ops.ed.undo_push(message=message)


def _areas() -> Iterator[bpy.types.Area]:
    for window in bpy.context.window_manager.windows:
        yield from window.screen.areas
