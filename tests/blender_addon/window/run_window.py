"""Drives the add-on in a real Blender window with mouse and keyboard; see README.md beside it."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT))

from tests.blender_addon.bpy.run_suite import build_zip  # noqa: E402
from tests.real_server import RealServer, running_server  # noqa: E402

EFFECT_SECONDS = 20
SCREEN = "1500x900x24"


class Window:
    """A Blender window under a virtual X server."""

    def __init__(self, folder: Path, display: str, process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self._environment = {**os.environ, "DISPLAY": display}
        self._process = process

    def state(self) -> dict[str, Any]:
        """What the add-on says now."""
        return dict(json.loads((self.folder / "state.json").read_text()))

    def until(
        self, what: str, condition: Callable[[dict[str, Any]], bool], seconds: float = 150
    ) -> dict[str, Any]:
        """Waits for a state; fails after so many seconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise SystemExit(f"Blender ended while waiting for: {what}")
            if (self.folder / "state.json").is_file() and condition(state := self.state()):
                print("ok:", what, flush=True)
                return state
            time.sleep(0.1)
        raise SystemExit(f"FAILED: {what}; {self.state()}")

    def run(self, source: str) -> None:
        """Runs Python in Blender, at its next report."""
        part = self.folder / "command.part"
        part.write_text(source)
        part.replace(self.folder / "command.py")
        while (self.folder / "command.py").is_file():
            if self._process.poll() is not None:
                raise SystemExit(f"Blender ended while it ran: {source}")
            time.sleep(0.05)

    def click(self, x: int, y: int) -> None:
        """Moves there (origin top-left) and clicks."""
        self._xdotool("mousemove", str(x), str(y))
        time.sleep(0.4)
        self._xdotool("click", "1")
        time.sleep(0.3)

    def press(
        self, x: int, y: int, what: str, condition: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        """Clicks until it has an effect: a busy computer draws a button later than it is there."""
        for _ in range(3):
            self.click(x, y)
            deadline = time.monotonic() + EFFECT_SECONDS
            while time.monotonic() < deadline:
                if condition(state := self.state()):
                    print("ok:", what, flush=True)
                    return state
                time.sleep(0.1)
        raise SystemExit(f"FAILED: {what}; {self.state()}")

    def hover(self, area_type: str) -> None:
        """Moves the mouse into an editor."""
        x, y, width, height = self.region(area_type, "WINDOW")
        self._xdotool("mousemove", str(x + width // 3), str(y + height // 2))
        time.sleep(0.4)

    def key(self, keys: str) -> None:
        """Presses a key combination."""
        self._xdotool("key", keys)
        time.sleep(0.5)

    def region(self, area_type: str, region_type: str) -> tuple[int, int, int, int]:
        """x, y, width, height of a region; origin top-left."""
        state = self.state()
        area = next(area for area in state["areas"] if area["type"] == area_type)
        x, y, width, height = area["regions"][region_type]
        return x, state["height"] - y - height, width, height

    def screenshot(self, path: Path) -> None:
        """The whole screen."""
        subprocess.run(["import", "-window", "root", str(path)], env=self._environment, check=True)

    def _xdotool(self, *arguments: str) -> None:
        subprocess.run(["xdotool", *arguments], env=self._environment, check=True)


Box = tuple[int, int, int, int]


def differing(window: Window, area_type: str, *states: str) -> Box:
    """What two states of Blender, each reached by a command, show differently in an editor's sidebar."""
    shots = []
    for number, command in enumerate(states):
        window.run(f"{command}\nredraw()")
        time.sleep(SETTLED)
        path = window.folder / f"{number}.png"
        window.screenshot(path)
        with Image.open(path) as shot:
            shots.append(shot.convert("RGB"))
    x, y, width, height = window.region(area_type, "UI")
    sidebar = (x, y, x + width, y + height)
    found = ImageChops.difference(*(shot.crop(sidebar) for shot in shots)).getbbox()
    if found is None:
        raise SystemExit(f"FAILED: {states} look the same")
    return found[0] + x, found[1] + y, found[2] + x, found[3] + y


def big_buttons(window: Window, area_type: str) -> tuple[int, int, int]:
    """Where Generate, Repaint and Cancel are pressed: x of Generate, x of Repaint, y of all; below the prompt."""
    prompt = window.state()["prompt"]
    shown = differing(
        window, area_type, "settings().prompt = 'IIII'", f"settings().prompt = {prompt!r}"
    )
    x, _, width, _ = window.region(area_type, "UI")
    return x + width - LEFT_BUTTON, x + width - RIGHT_BUTTON, (shown[1] + shown[3]) // 2 + BELOW


def check_the_window(window: Window, out: Path) -> None:
    """The artist's way through the add-on."""
    window.until("the server was found by itself", lambda s: ", model " in s["server"])
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
    time.sleep(1)
    window.screenshot(out / "3-done.png")
    window.hover("VIEW_3D")
    window.key("ctrl+z")
    window.until("one Ctrl-Z takes it back", lambda s: s["texture"] == [] and s["images"] == before)
    window.key("ctrl+shift+z")
    window.until("redo brings it again", lambda s: s["texture"] == state["texture"])
    time.sleep(0.5)
    window.screenshot(out / "4-redone.png")
    generate, _, row = big_buttons(window, "IMAGE_EDITOR")
    window.run("settings().num_inference_steps = 1000")
    window.press(generate, row, "Generate in the Image Editor starts it", lambda s: s["busy"])
    window.until("it paints", lambda s: s["fraction"] > 0.1)
    window.screenshot(out / "5-again.png")
    # The cross stands at the right end of the row, where Repaint was.
    x, _, width, _ = window.region("IMAGE_EDITOR", "UI")
    window.press(
        x + width - CROSS, row, "a click on Cancel frees the panel", lambda s: not s["busy"]
    )
    window.until("it was cancelled", lambda s: s["note"] == "Cancelled")
    window.run("bpy.context.scene.scumble.num_inference_steps = 4")
    time.sleep(SETTLED)
    window.press(
        generate,
        row,
        "the Image Editor shows what was painted from it",
        lambda s: any(area["image"] for area in s["areas"]) and not s["busy"],
    )
    time.sleep(1)
    window.screenshot(out / "6-image-editor.png")
    pick_a_variation(window, out)
    repaint_selected_faces(window, out)
    project_from_two_cameras(window, out)
    say_what_is_wrong(window, out)


def pick_a_variation(window: Window, out: Path) -> None:
    """Four variations; the third is taken."""
    window.run("settings().count = 4; redraw()")
    time.sleep(SETTLED)
    generate, _, row = big_buttons(window, "VIEW_3D")
    window.press(
        generate, row, "four variations wait to be picked from", lambda s: s["variations"] == 4
    )
    # The buttons of the first and the second, of which one is pressed.
    left, top, right, bottom = differing(window, "VIEW_3D", "chosen(1)", "chosen(0)")
    middle = (top + bottom) // 2
    third = right + (right - left) // 4
    window.press(third, middle, "a click shows the third large", lambda s: s["chosen"] == 2)
    time.sleep(SETTLED)
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
        "the faces are repainted",
        lambda s: not s["busy"] and s["texture"] != shown,
    )
    window.run(
        "area = next(a for a in bpy.context.window_manager.windows[0].screen.areas if a.type == 'IMAGE_EDITOR');"
        "area.spaces[0].image = bpy.data.objects['Cube'].active_material.node_tree.nodes.active.image"
    )
    time.sleep(5)  # Blender's panels glide to their new places
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
    time.sleep(SETTLED)
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
    time.sleep(SETTLED)
    window.screenshot(out / "9-projected.png")


def say_what_is_wrong(window: Window, out: Path) -> None:
    """A failure in the background: in the panel, and in the status bar."""
    window.run("bpy.context.scene.scumble.model = 'no-such-model'")
    generate, _, row = big_buttons(window, "VIEW_3D")
    window.press(
        generate, row, "the panel says what is wrong", lambda s: "no-such-model" in s["error"]
    )
    time.sleep(SETTLED)
    window.screenshot(out / "10-refused.png")


CROSS = 48
"""Cancel, px from the sidebar's right border."""
LEFT_BUTTON, RIGHT_BUTTON = 215, 110
"""Generate and Repaint, px from the sidebar's right border."""
BELOW = 77
"""From the prompt down to them, px."""
ROW = 26
"""From one row of a panel to the next, px."""
ROWS_TO_PROJECT = 4
"""From View Size down to the button."""
SETTLED = 3.0
"""Seconds after which the window shows what it was told, on a slow computer."""


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
                check_the_window(window, chosen.out)
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
