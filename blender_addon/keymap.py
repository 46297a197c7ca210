"""Shortcuts; they can be changed in the add-on's preferences."""

import bpy

_WANTED = (
    ("3D View", "VIEW_3D", "scumble.generate_texture", "G"),
    ("3D View", "VIEW_3D", "scumble.repaint_image", "R"),
    ("Image", "IMAGE_EDITOR", "scumble.repaint_image", "R"),
    ("Image", "IMAGE_EDITOR", "scumble.paint_mask", "M"),
)
_added: list[tuple[bpy.types.KeyMap, bpy.types.KeyMapItem]] = []


def draw(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The shortcuts, to be changed."""
    import rna_keymap_ui

    user = context.window_manager.keyconfigs.user
    for keymap, item in _added:
        mine = user.keymaps.get(keymap.name) if user else None
        if mine is None:
            continue
        found = next((i for i in mine.keymap_items if i.idname == item.idname), None)
        if found is not None:
            rna_keymap_ui.draw_kmi([], user, mine, found, layout, 0)


def register() -> None:
    config = bpy.context.window_manager.keyconfigs.addon
    if config is None:
        return
    for name, space, operator, key in _WANTED:
        keymap = config.keymaps.new(name=name, space_type=space)
        item = keymap.keymap_items.new(operator, key, "PRESS", ctrl=True, alt=True, shift=True)
        _added.append((keymap, item))


def unregister() -> None:
    for keymap, item in _added:
        keymap.keymap_items.remove(item)
    _added.clear()
