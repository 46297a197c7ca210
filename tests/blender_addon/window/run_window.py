"""Drives the add-on in a real Blender window with mouse and keyboard; see README.md beside it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageChops

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT))

from tests.blender_addon.bpy.run_suite import build_zip  # noqa: E402
from tests.blender_addon.window.screen import Window, big_buttons, differing  # noqa: E402
from tests.real_server import RealServer, running_server  # noqa: E402

SCREEN = "1500x900x24"
CROSS = 48
"""Cancel, px from the sidebar's right border."""
ROW = 26
"""From one row of a panel to the next, px."""
ROWS_TO_PROJECT = 4
"""From View Size down to the button."""
LIVE_ABOVE_SIZE = 57
"""From the row of Size up to the switch Live, px, where nothing is told yet."""
STATUS_BAR = 24
"""Its height, px."""
FIT_IMAGES = """
window = bpy.context.window_manager.windows[0]
for area in window.screen.areas:
    if area.type == "IMAGE_EDITOR":
        region = next(r for r in area.regions if r.type == "WINDOW")
        with bpy.context.temp_override(window=window, area=area, region=region):
            bpy.ops.image.view_all(fit_view=True)
"""


def generate_and_cancel(window: Window, out: Path) -> None:
    """A texture, taken back and brought again; one that is cancelled; one in the Image Editor."""
    before = window.state()["images"]
    window.screenshot(out / "1-ready.png")
    window.run(
        "import time; begun = time.perf_counter();"
        "bpy.ops.wm.redraw_timer(type='DRAW_WIN_SWAP', iterations=5);"
        "clock['redraw'] = (time.perf_counter() - begun) / 5"
    )
    redraw = window.until("a redraw was timed", lambda s: s["redraw"] > 0)["redraw"] * 1000
    window.run("clock['longest'] = 0.0")
    generate, _, row = big_buttons(window, "VIEW_3D")
    window.press(generate, row, "a click on Generate starts it", lambda s: s["busy"])
    window.until("it is half way", lambda s: s["fraction"] > 0.4)
    window.screenshot(out / "2-painting.png")
    state = window.until("the texture is on the cube", lambda s: s["texture"] and not s["busy"])
    longest = state["longest"] * 1000
    print(
        f"The main loop stood still for {longest:.0f} ms at most; a redraw of the window takes {redraw:.0f} ms here"
    )
    window.settle()
    window.screenshot(out / "3-done.png")
    window.hover("VIEW_3D")
    window.key("ctrl+z")
    window.until("one Ctrl-Z takes it back", lambda s: s["texture"] == [] and s["images"] == before)
    window.key("ctrl+shift+z")
    window.until("redo brings it again", lambda s: s["texture"] == state["texture"])
    window.settle()
    window.screenshot(out / "4-redone.png")
    generate, _, row = big_buttons(window, "IMAGE_EDITOR")
    window.run("settings().num_inference_steps = 1000")
    window.press(generate, row, "Generate in the Image Editor starts it", lambda s: s["busy"])
    window.until("it paints", lambda s: s["fraction"] > 0.1)
    drawn = window.state()["draws"]["IMAGE_EDITOR"]
    # The panels make room for the picture; while it grows, the screen never rests.
    window.until("the panels are there", lambda s: s["draws"]["IMAGE_EDITOR"] > drawn + 5)
    window.screenshot(out / "5-again.png")
    # The cross stands at the right end of the row, where Repaint was.
    x, _, width, _ = window.region("IMAGE_EDITOR", "UI")
    window.press(
        x + width - CROSS, row, "a click on Cancel frees the panel", lambda s: not s["busy"]
    )
    window.until("it was cancelled", lambda s: s["note"] == "Cancelled")
    window.run("bpy.context.scene.scumble.num_inference_steps = 4")
    window.settle()
    window.press(
        generate,
        row,
        "a click paints again",
        lambda s: s["busy"] or any(area["image"] for area in s["areas"]),
    )
    window.until(
        "the Image Editor shows what was painted from it",
        lambda s: any(area["image"] for area in s["areas"]) and not s["busy"],
    )
    window.settle("IMAGE_EDITOR")
    window.screenshot(out / "6-image-editor.png")


def pick_a_variation(window: Window, out: Path) -> None:
    """Four variations; the third is taken."""
    window.run("settings().count = 4")
    generate, _, row = big_buttons(window, "VIEW_3D")
    window.press(
        generate, row, "a click paints variations", lambda s: s["busy"] or s["variations"] == 4
    )
    window.until("four wait to be picked from", lambda s: s["variations"] == 4 and not s["busy"])
    # The buttons of the first and the second, of which one is pressed.
    left, top, right, bottom = differing(window, "VIEW_3D", "chosen(1)", "chosen(0)")
    middle = (top + bottom) // 2
    third = right + (right - left) // 4
    window.press(third, middle, "a click shows the third large", lambda s: s["chosen"] == 2)
    window.settle()
    window.screenshot(out / "7-variations.png")
    before = window.state()["images"]
    window.press(
        left + (right - left) // 4,
        middle + ROW,
        "Accept puts it into the file",
        lambda s: len(s["images"]) == len(before) + 1,
    )
    window.run("bpy.context.scene.scumble.count = 1")


def repaint_selected_faces(window: Window, out: Path) -> None:
    """Two faces of the cube, selected in Edit Mode."""
    window.run(
        "bpy.context.view_layer.objects.active = bpy.data.objects['Cube'];"
        "bpy.ops.object.mode_set(mode='EDIT'); bpy.ops.mesh.select_all(action='DESELECT');"
        "import bmesh; mesh = bmesh.from_edit_mesh(bpy.context.object.data);"
        "[face.select_set(face.normal.z > 0.5 or face.normal.x > 0.5) for face in mesh.faces];"
        "bmesh.update_edit_mesh(bpy.context.object.data);"
        "settings = bpy.context.scene.scumble; settings.prompt = 'green moss'; settings.strength = 1.0"
    )
    shown = window.state()["texture"]
    _, repaint, row = big_buttons(window, "VIEW_3D")
    window.press(
        repaint,
        row,
        "a click on Repaint starts it",
        lambda s: s["busy"] or s["texture"] != shown,
    )
    window.until("the faces are repainted", lambda s: not s["busy"] and s["texture"] != shown)
    window.run(
        "image_editor().spaces[0].image = bpy.data.objects['Cube'].active_material.node_tree.nodes.active.image;"
        "view = next(a for a in bpy.context.window_manager.windows[0].screen.areas if a.type == 'VIEW_3D');"
        "view.spaces[0].overlay.show_faces = False"  # else the selection's orange hides the paint
    )
    window.settle()
    window.screenshot(out / "8-faces.png")
    window.run("bpy.ops.object.mode_set(mode='OBJECT')")


def project_from_two_cameras(window: Window, out: Path) -> None:
    """The scene's camera and one on the other side, by a click on the panel's button."""
    window.run(
        "one = bpy.data.objects['Camera']; two = one.copy(); bpy.context.collection.objects.link(two);"
        "two.location = -one.location;"
        "two.rotation_euler = one.location.to_track_quat('-Z', 'Y').to_euler();"
        "one.select_set(True); two.select_set(True);"
        "bpy.context.view_layer.objects.active = bpy.data.objects['Cube'];"
        "settings = bpy.context.scene.scumble; settings.view_from = 'CAMERAS'; settings.view_size = 256;"
        "settings.prompt = 'rusty metal'; settings.control = 'NONE'; only_panel('project')"
    )
    shown = window.state()["texture"]
    size = differing(window, "VIEW_3D", "settings().view_size = 128", "settings().view_size = 256")
    window.run("clock['longest'] = 0.0")
    window.press(
        (size[0] + size[2]) // 2,
        (size[1] + size[3]) // 2 + ROWS_TO_PROJECT * ROW,
        "a click starts the projection",
        lambda s: s["busy"] or s["texture"] != shown,
    )
    state = window.until(
        "two cameras have painted", lambda s: not s["busy"] and s["texture"] != shown
    )
    print(f"Meanwhile the main loop stood still for {state['longest'] * 1000:.0f} ms at most")
    window.settle()
    window.screenshot(out / "9-projected.png")


def say_what_is_wrong(window: Window, out: Path) -> None:
    """A failure in the background: in the panel, and in the status bar."""
    window.run("bpy.context.scene.scumble.model = 'no-such-model'")
    window.settle()
    window.screenshot(window.folder / "calm.png")
    generate, _, row = big_buttons(window, "VIEW_3D")
    window.press(
        generate, row, "the panel says what is wrong", lambda s: "no-such-model" in s["error"]
    )
    window.settle()
    window.screenshot(out / "10-refused.png")
    with Image.open(window.folder / "calm.png") as calm, Image.open(out / "10-refused.png") as now:
        bar = (0, calm.height - STATUS_BAR, calm.width, calm.height)
        changed = ImageChops.difference(
            calm.convert("RGB").crop(bar), now.convert("RGB").crop(bar)
        ).getbbox()
    if changed is None or changed[2] - changed[0] < calm.width // 5:
        raise SystemExit("FAILED: the status bar says nothing")
    print("ok: the status bar says it too", flush=True)
    window.run("settings().model = ''")


def write_large_pictures(window: Window, out: Path) -> None:
    """2048 px, in floats and in bytes, into the image itself: what each turn of the clock costs."""
    window.run(
        "one = settings(); one.mask = 'WHOLE'; one.strength = 0.5; one.target = 'SAME';"
        "one.num_inference_steps = 4"
    )
    for kind, is_float in (("floats", True), ("bytes", False)):
        window.run(
            "import numpy as np\n"
            f"image = bpy.data.images.new('Large {kind}', 2048, 2048, float_buffer={is_float})\n"
            "image.pixels.foreach_set(np.random.default_rng(1).random(2048 * 2048 * 4, np.float32))\n"
            "settings().image = image\n"
        )
        _, repaint, row = big_buttons(window, "VIEW_3D")
        window.run("ticks.clear()")
        written = f"Repainted 'Large {kind}' itself"
        window.press(
            repaint,
            row,
            f"a click repaints {kind}",
            lambda s, done=written: s["busy"] or done in s["note"],
        )
        state = window.until(
            f"2048 px of {kind} are written",
            lambda s, done=written: not s["busy"] and (done in s["note"] or bool(s["error"])),
        )
        if state["error"]:
            raise SystemExit(f"FAILED: {state['error']}")
        slow = sorted(state["ticks"], reverse=True)
        print(f"{len(slow)} turns of the clock; the longest took {slow[:5]} ms")
    window.run("settings().image = None; settings().mask = 'FACES'; settings().target = 'NEW'")


def paint_live(window: Window, out: Path) -> None:
    """The switch in the Image Editor: on, two strokes with the brush, each with its picture, and off."""
    window.run(
        "import numpy as np\n"
        "image = bpy.data.images.new('Wall', 512, 512)\n"
        "pixels = np.ones((512, 512, 4), np.float32); pixels[..., :3] = (0.45, 0.2, 0.13)\n"
        "pixels[..., :3] += np.random.default_rng(1).normal(0, 0.04, (512, 512, 1))\n"
        "image.pixels.foreach_set(pixels.ravel())\n"
        "one = settings(); one.prompt = 'old red brick wall, moss'; one.live_steps = 2; one.live_size = 256\n"
        "one.live_strength = 0.7\n"
        "view = next(a for a in bpy.context.window_manager.windows[0].screen.areas if a.type == 'VIEW_3D')\n"
        "view.type = 'IMAGE_EDITOR'; view.spaces[0].show_region_ui = False\n"
        "space = image_editor().spaces[0]; space.image = image; space.mode = 'PAINT'\n"
        "only_panel('live', 'image_editor')\n"
        "paint = bpy.context.tool_settings.image_paint\n"
        "shared = getattr(paint, 'unified_paint_settings', None) or bpy.context.tool_settings.unified_paint_settings\n"
        "shared.use_unified_color = True; shared.color = (0.2, 0.5, 0.1); shared.size = 30\n"
    )
    window.until("the brush is there", lambda s: any(a["image"] == "Wall" for a in s["areas"]))
    window.run(FIT_IMAGES)
    size = differing(
        window, "IMAGE_EDITOR", "settings().live_size = 512", "settings().live_size = 256"
    )
    x, _, width, _ = window.region("IMAGE_EDITOR", "UI")
    left, switch = x + width // 4, (size[1] + size[3]) // 2 - LIVE_ABOVE_SIZE
    window.press(left, switch, "a click on Live switches it on", lambda s: s["live"])
    state = window.until("the first picture is there", lambda s: s["live_pictures"] > 0)
    x, y, width, height = window.region("IMAGE_EDITOR", "WINDOW")
    for part in (0.35, 0.5):
        shown, row = state["live_pictures"], y + round(height * part)
        window.drag([(x + 40 + 25 * k, row + (k % 2) * 15) for k in range(8)])
        window.until("a stroke is on the canvas", lambda s: "Wall" in s["dirty"])
        state = window.until(
            "the picture follows the stroke", lambda s, n=shown: s["live_pictures"] > n
        )
    window.run(FIT_IMAGES)
    window.settle("IMAGE_EDITOR")
    window.screenshot(out / "11-live.png")
    if not any(area["image"] == "Wall live" for area in window.state()["areas"]):
        raise SystemExit("FAILED: no editor shows the live picture")
    window.press(left, switch, "a click on Live switches it off", lambda s: not s["live"])
    window.until("the panel says so", lambda s: s["live_told"] == "Live painting is off.")


STEPS = {
    "generate": generate_and_cancel,
    "variations": pick_a_variation,
    "faces": repaint_selected_faces,
    "project": project_from_two_cameras,
    "wrong": say_what_is_wrong,
    "large": write_large_pictures,
    "live": paint_live,
}
"""The artist's way through the add-on; "large" and "live" need nothing of what is before them."""


def blender_window(
    python: str, folder: Path, display: str, server: RealServer
) -> subprocess.Popen[bytes]:
    """Starts Blender in a profile of its own."""
    runtime = folder / "runtime"
    runtime.mkdir(mode=0o700)
    variables = {
        **os.environ,
        "DISPLAY": display,
        "XDG_RUNTIME_DIR": str(runtime),
        "BLENDER_USER_RESOURCES": str(folder / "profile"),
        "SCUMBLE_DATA_DIR": str(server.data_dir),
        "SCUMBLE_WINDOW_FOLDER": str(folder),
        "SCUMBLE_TEST_EXTENSION": str(build_zip(sys.executable)),
    }
    (folder / "profile").mkdir()
    command = [python, str(HERE / "blender_window.py"), str(HERE / "in_blender.py")]
    return subprocess.Popen(
        command, env=variables, stdout=(folder / "log").open("wb"), stderr=subprocess.STDOUT
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", required=True, help="an interpreter that has bpy")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "window")
    parser.add_argument("--model", default="tiny", help="the server's model")
    parser.add_argument("--only", nargs="+", choices=STEPS, default=list(STEPS))
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="scumble-window-"))
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", SCREEN, "-nolisten", "tcp"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    screen = subprocess.Popen(command, pass_fds=(writing,), **quiet)
    os.close(writing)
    try:
        with os.fdopen(reading) as pipe:
            display = f":{pipe.readline().strip()}"
        with running_server(folder / "server", model=chosen.model) as server:
            blender = blender_window(chosen.python, folder, display, server)
            try:
                window = Window(folder, display, blender)
                window.until("the window is up", lambda s: bool(s["areas"]))
                window.until("the server was found by itself", lambda s: ", model " in s["server"])
                for step in chosen.only:
                    STEPS[step](window, chosen.out)
            except SystemExit:
                window.screenshot(chosen.out / "failed.png")
                print((folder / "log").read_text()[-4000:])
                raise
            finally:
                blender.kill()
                blender.wait()
    finally:
        screen.terminate()
    print(f"Screenshots are in {chosen.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
