"""A Blender window under a virtual X server, with mouse, keyboard and eyes."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops

PATIENCE = 600
"""s until a state is given up: a busy computer takes long."""
EFFECT_SECONDS = 60
"""s until a click that had no effect is made again."""
GLIDE = 0.5
"""s between two looks at the screen that must be the same: panels glide to their places."""


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
        self, what: str, condition: Callable[[dict[str, Any]], bool], seconds: float = PATIENCE
    ) -> dict[str, Any]:
        """Waits for a state; fails after so many seconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise SystemExit(f"Blender ended while waiting for: {what}")
            if (self.folder / "state.json").is_file() and condition(state := self.state()):
                if what:
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

    def drag(self, points: Sequence[tuple[int, int]]) -> None:
        """A stroke with the left button through these points (origin top-left)."""
        self._xdotool("mousemove", *map(str, points[0]))
        time.sleep(0.4)
        self._xdotool("mousedown", "1")
        for x, y in points[1:]:
            self._xdotool("mousemove", str(x), str(y))
            time.sleep(0.1)
        self._xdotool("mouseup", "1")

    def settle(self, area_type: str = "VIEW_3D") -> None:
        """Waits until what Blender was told is drawn, and nothing moves any more."""
        self.run("redraw()")
        drawn = self.state()["draws"].get(area_type, 0)
        self.until("", lambda s: s["draws"].get(area_type, 0) > drawn)
        last = b""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            time.sleep(GLIDE)
            path = self.folder / "settle.png"
            self.screenshot(path)
            with Image.open(path) as shot:
                now = shot.convert("RGB").tobytes()
            if now == last:
                return
            last = now
        raise SystemExit("FAILED: the screen never came to rest")

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
        areas = [area for area in state["areas"] if area["type"] == area_type]
        # The one with the sidebar, where there are several.
        area = max(areas, key=lambda area: area["regions"]["UI"][2])
        x, y, width, height = area["regions"][region_type]
        return x, state["height"] - y - height, width, height

    def screenshot(self, path: Path) -> None:
        """The whole screen."""
        subprocess.run(["import", "-window", "root", str(path)], env=self._environment, check=True)

    def _xdotool(self, *arguments: str) -> None:
        subprocess.run(["xdotool", *arguments], env=self._environment, check=True)


LEFT_BUTTON, RIGHT_BUTTON = 215, 110
"""Generate and Repaint, px from the sidebar's right border."""
BELOW = 77
"""From the prompt down to them, px."""

Box = tuple[int, int, int, int]


def differing(window: Window, area_type: str, *states: str) -> Box:
    """What two states of Blender, each reached by a command, show differently in an editor's sidebar."""
    shots = []
    for number, command in enumerate(states):
        window.run(command)
        window.settle(area_type)
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
