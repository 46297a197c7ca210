"""What an artist does, with a mouse and without, in a window that a window manager manages."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from ctypes.util import find_library
from pathlib import Path
from typing import Any

import pytest

from tests.photoshop_plugin.scene import FILL_TITLE

TOOLS = ("Xvfb", "openbox", "xdotool")
LIBRARIES = ("xcb-cursor", "xcb-icccm", "xcb-keysyms")
"""Of the system, which Qt's X11 part needs."""
SECONDS = 40


class Screen:
    """An X server with a window manager, and the panel on it."""

    def __init__(self, folder: Path, scheme: str) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            self._open(scheme)
        except BaseException:
            self.close()
            raise

    def _open(self, scheme: str) -> None:
        reading, writing = os.pipe()
        command = [
            "Xvfb",
            "-displayfd",
            str(writing),
            "-screen",
            "0",
            "640x900x24",
            "-nolisten",
            "tcp",
        ]
        self._start(command, pass_fds=(writing,))
        os.close(writing)
        with os.fdopen(reading) as pipe:
            display = f":{pipe.readline().strip()}"
        self.environment = os.environ | {"DISPLAY": display, "QT_QPA_PLATFORM": "xcb"}
        self._start(["openbox"])
        module = "tests.photoshop_plugin.panel.screen.program"
        self._start([sys.executable, "-m", module, str(self._folder), scheme])
        self.until(lambda seen: seen["ready"] and seen["active"])

    def _start(self, command: list[str], **options: Any) -> None:
        environment = getattr(self, "environment", None)
        quiet = subprocess.DEVNULL
        self._processes.append(
            subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet, **options)
        )

    def until(self, true: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Waits; what is seen then."""
        deadline, seen = time.monotonic() + SECONDS, {}
        while time.monotonic() < deadline and self._processes[-1].poll() is None:
            path = self._folder / "seen.json"
            if path.is_file():
                seen = json.loads(path.read_text())
                if true(seen):
                    return seen
            time.sleep(0.1)
        raise AssertionError(f"not seen: {seen}")

    def click(self, name: str, *, twice: bool = False) -> None:
        """The middle of a widget, once it is there."""
        x, y = self.until(lambda seen: seen["places"][name])["places"][name]
        self.do("mousemove", str(x), str(y))
        self.do("click", "--repeat", "2" if twice else "1", "--delay", "80", "1")

    def type(self, text: str) -> None:
        """Letter by letter."""
        self.do("type", "--delay", "15", text)

    def key(self, *keys: str) -> None:
        """Such as "ctrl+Return"."""
        for key in keys:
            self.do("key", key)

    def do(self, *arguments: str) -> None:
        """xdotool."""
        subprocess.run(["xdotool", *arguments], env=self.environment, check=True, timeout=20)

    def close(self) -> None:
        """Ends what was started, the last one first."""
        for process in reversed(self._processes):
            process.kill()
            process.wait(20)


@pytest.fixture
def screen(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Screen]:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    missing += [f"lib{name}" for name in LIBRARIES if find_library(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    made = Screen(tmp_path, getattr(request, "param", "dark"))
    yield made
    made.close()


def test_with_the_mouse(screen: Screen) -> None:
    screen.click("prompt")
    screen.type("a red barn")
    screen.until(lambda seen: seen["prompt"] == "a red barn")
    screen.click("generate")
    seen = screen.until(lambda seen: seen["results"] == 1)
    assert seen["requests"] == [["a red barn", 1]]
    assert seen["history"][-1] != FILL_TITLE, "nothing is laid back unasked"
    screen.click("first", twice=True)
    screen.until(lambda seen: seen["history"][-1] == FILL_TITLE)
    screen.click("live")
    screen.until(lambda seen: seen["live"] and seen["places"]["make"])
    screen.click("make")
    seen = screen.until(lambda seen: seen["history"][-1] == "Scumble: Repaint what is there")
    assert not seen["live"]


@pytest.mark.parametrize("screen", ["light"], indirect=True)
def test_with_the_keyboard_alone(screen: Screen) -> None:
    def reach(name: str) -> None:
        """With Tab, however many it takes."""
        for _ in range(40):
            if screen.until(lambda seen: True)["focus"] == name:
                return
            screen.key("Tab")
            time.sleep(0.3)
        raise AssertionError(f"{name} cannot be reached with Tab")

    reach("Prompt")
    screen.type("moss")
    reach("Variations")
    screen.key("Up")
    screen.key("alt+g")
    seen = screen.until(lambda seen: seen["results"] == 2)
    assert seen["requests"] == [["moss", 2]]
    reach("Results")
    screen.key("Home", "Return")
    screen.until(lambda seen: seen["history"][-1] == FILL_TITLE)
    screen.key("Delete")
    screen.until(lambda seen: seen["results"] == 1)
    screen.key("alt+i")
    screen.until(lambda seen: seen["live"])
    screen.key("Escape")
    screen.until(lambda seen: not seen["live"])
