"""Runs inside the Blender window: lays out the editors, reports what the add-on does, obeys single commands."""

import contextlib
import json
import os
import sys
import time
from pathlib import Path

import bpy
from mathutils import Vector

FOLDER = Path(os.environ["SCUMBLE_WINDOW_FOLDER"])
MODULE = "bl_ext.user_default.scumble"
TICK = 0.02

clock = {"last": time.monotonic(), "longest": 0.0, "redraw": 0.0}
draws = {}
"""How often the sidebars of each kind of editor were drawn."""
ticks = []
"""What each turn of the add-on's clock cost, ms of the main thread's processor time."""


def beat():
    """Measures how long the main loop stood still."""
    now = time.monotonic()
    gap = now - clock["last"] - TICK
    clock["longest"] = max(clock["longest"], gap)
    clock["last"] = now
    return TICK


def report():
    """Writes the state for the driver, and runs a command file if there is one."""
    command = FOLDER / "command.py"
    if command.is_file():
        source = command.read_text()
        command.unlink()
        known = (settings, chosen, redraw, only_panel, image_editor)
        exec(source, {"bpy": bpy, "clock": clock, "ticks": ticks, **{f.__name__: f for f in known}})
    window = bpy.context.window_manager.windows[0]
    controller = sys.modules[f"{MODULE}.host.controller"].get()
    status = controller.status
    material = bpy.data.objects["Cube"].active_material
    nodes = material.node_tree.nodes if material else ()
    state = {
        "areas": [
            {
                "type": area.type,
                "regions": {r.type: [r.x, r.y, r.width, r.height] for r in area.regions},
                "image": area.spaces[0].image.name
                if area.type == "IMAGE_EDITOR" and area.spaces[0].image
                else "",
            }
            for area in window.screen.areas
        ],
        "height": window.height,
        "busy": controller.busy,
        "fraction": status.fraction,
        "text": status.progress_text,
        "server": status.server,
        "note": status.note,
        "error": status.error,
        "variations": len(controller.variations),
        "chosen": controller.chosen,
        "prompt": settings().prompt,
        "images": sorted(bpy.data.images.keys()),
        "texture": [n.image.name for n in nodes if n.type == "TEX_IMAGE" and n.image],
        "live": controller.live.running,
        "live_told": controller.live.told,
        "live_pictures": controller.live._bridge.answered if controller.live._bridge else 0,
        "dirty": [image.name for image in bpy.data.images if image.is_dirty],
        "draws": draws,
        "ticks": ticks,
        "longest": clock["longest"],
        "redraw": clock["redraw"],
    }
    part = FOLDER / "state.part"
    part.write_text(json.dumps(state))
    part.replace(FOLDER / "state.json")
    return 0.1


def settings():
    return bpy.context.scene.scumble


def chosen(number):
    """Presses a variation's button without showing it large."""
    sys.modules[f"{MODULE}.host.controller"].get().chosen = number


def redraw():
    for area in bpy.context.window_manager.windows[0].screen.areas:
        area.tag_redraw()


def only_panel(part, space="view3d"):
    """Leaves one of an editor's panels below the main one, open, so that a small screen shows it."""
    interface = sys.modules[f"{MODULE}.interface"]
    for cls in interface._CLASSES:
        name = cls.__name__
        if not name.startswith(f"SCUMBLE_PT_{space}_") or not cls.is_registered:
            continue
        bpy.utils.unregister_class(cls)
        if name.endswith(f"_{part}"):
            # Blender remembers by name which panels are closed.
            members = {"bl_space_type": cls.bl_space_type, "bl_parent_id": cls.bl_parent_id}
            opened = type(f"{name}_open", cls.__bases__, {**members, "bl_options": set()})
            bpy.utils.register_class(opened)


def image_editor():
    """The Image Editor with the sidebar."""
    areas = bpy.context.window_manager.windows[0].screen.areas
    return next(a for a in areas if a.type == "IMAGE_EDITOR" and a.spaces[0].show_region_ui)


def count_draws():
    """A sidebar that was drawn is on the screen by the next report."""

    def drawn(name):
        draws[name] = draws.get(name, 0) + 1

    for space, name in (
        (bpy.types.SpaceView3D, "VIEW_3D"),
        (bpy.types.SpaceImageEditor, "IMAGE_EDITOR"),
    ):
        space.draw_handler_add(drawn, (name,), "UI", "POST_PIXEL")


def time_ticks():
    """Measures the add-on's clock where it takes events in and lays results."""
    controller = sys.modules[f"{MODULE}.host.controller"].get()
    pump = controller.pump

    def timed():
        begun = time.thread_time()
        changed = pump()
        ticks.append(round((time.thread_time() - begun) * 1000, 2))
        del ticks[:-2000]
        return changed

    controller.pump = timed


def split():
    """Makes room for an Image Editor; the new editor has its place after the next redraw."""
    window = bpy.context.window_manager.windows[0]
    view = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    region = next(r for r in view.regions if r.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=view, region=region):
        bpy.ops.screen.area_split(direction="VERTICAL", factor=0.5)
    bpy.app.timers.register(lay_out, first_interval=1.0)


def lay_out():
    """3D viewport on the left with textures shown, Image Editor on the right, both with their sidebars open."""
    window = bpy.context.window_manager.windows[0]
    views = [area for area in window.screen.areas if area.type == "VIEW_3D"]
    left, right = sorted(views, key=lambda area: area.x)
    right.type = "IMAGE_EDITOR"
    space = left.spaces[0]
    space.shading.type = "SOLID"
    space.shading.color_type = "TEXTURE"
    space.show_region_toolbar = False
    space.overlay.show_extras = False
    space.show_gizmo = False
    # The cube beside the sidebar, not behind it.
    view = space.region_3d
    view.view_distance = 11
    view.view_location = view.view_rotation @ Vector((1.7, -0.6, 0))
    for area in (left, right):
        area.spaces[0].show_region_ui = True
    bpy.app.timers.register(choose_tabs, first_interval=1.0)


def choose_tabs():
    """A sidebar's tab can be chosen only after it was drawn once."""
    window = bpy.context.window_manager.windows[0]
    for area in window.screen.areas:
        for region in area.regions:
            if area.type not in ("VIEW_3D", "IMAGE_EDITOR") or region.type != "UI":
                continue
            if region.active_panel_category != "Scumble":
                with contextlib.suppress(AttributeError, TypeError):
                    region.active_panel_category = "Scumble"
                region.tag_redraw()
                return 0.3
    count_draws()
    time_ticks()
    bpy.app.timers.register(beat, persistent=True)
    bpy.app.timers.register(report, persistent=True)
    return None


def start():
    settings = bpy.context.scene.scumble
    settings.prompt = "weathered red bricks"
    settings.width = settings.height = 256
    settings.num_inference_steps = int(os.environ.get("SCUMBLE_WINDOW_STEPS", "40"))
    split()


bpy.context.preferences.view.show_splash = False
bpy.ops.extensions.package_install_files(
    filepath=os.environ["SCUMBLE_TEST_EXTENSION"],
    repo="user_default",
    enable_on_install=True,
    overwrite=True,
)
bpy.app.timers.register(start, first_interval=1.0)
