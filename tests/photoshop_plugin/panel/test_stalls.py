"""The panel never blocks: while Photoshop or the server hangs, the artist goes on typing and choosing.

What hangs does so until the test lets it go, so that no result depends on how fast the machine is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources

import pytest

from tests.photoshop_plugin.panel.window_desk import WindowDesk  # before Qt: it may skip

# isort: split
from PySide6.QtCore import QTimer
from PySide6.QtTest import QTest

from scumble.client import NotRunning
from tests.fakes.photoshop import Application
from tests.fakes.photoshop.com import ComError
from tests.fakes.photoshop.objects import method
from tests.photoshop_plugin.scene import open_document
from tests.photoshop_plugin.scripted_server import ScriptedServer

BEAT_SECONDS = 0.01
MOST_BEATS = 150
"""Between two turns of the event loop; on a quiet machine it is about one."""
LEAST_SECONDS = 1.0
"""Each hang lasts longer than the panel's own timers, so that they fire into it."""
GIVES_UP_SECONDS = 100.0
LETTERS = 50
CALL_FAILED = -2147023170
RETRY_LATER = -2147417846
CAPTURE = (resources.files("photoshop_plugin.host") / "jsx" / "capture.jsx").read_text("utf-8")
"""The program that only a generation runs; the panel's own looks run others."""


class StallMeter:
    """The longest time between two turns of the event loop, in beats of another thread.

    Not in seconds: a machine that stops the whole program for a while says nothing about the panel.
    """

    def __init__(self) -> None:
        self._since, self.longest = 0, 0
        self._over = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._timer = QTimer()
        self._timer.timeout.connect(self._tick)
        self._timer.start(1)
        self._heart.start()

    def stop(self) -> None:
        self._timer.stop()
        self._over.set()
        self._heart.join()

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            self._since += 1
            self.longest = max(self.longest, self._since)

    def _tick(self) -> None:
        self._since = 0


@dataclass
class Hang:
    """Whoever comes to `wait` stays there until `end`, or gives up if that never comes."""

    begun: threading.Event = field(default_factory=threading.Event)
    gave_up: bool = False
    _over: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> None:
        self.begun.set()
        if not self._over.wait(GIVES_UP_SECONDS):
            self.gave_up = True

    def end(self) -> None:
        self._over.set()


class HangingPhotoshop(Application):
    """Answers at once, or after its hang, or dies there; `only` is how the programs end that this happens to."""

    _own = Application._own | {"hang", "only", "dies"}
    hang: Hang | None = None
    only = ""
    dies = False

    @method
    def doJavaScript(self, script: str, arguments: object, mode: int) -> str:  # noqa: N802
        if self.hang is not None and script.endswith(self.only):
            self.hang.wait()
            if self.dies:
                raise ComError(CALL_FAILED, None, ())
        return super().doJavaScript(script, arguments, mode)


@contextmanager
def usable(desk: WindowDesk, begun: Callable[[], object]) -> Iterator[None]:
    """Afterwards the artist could type, choose and look at things all the time, also once it had begun."""
    prompt, meter = desk.window.form.prompt, StallMeter()
    try:
        yield
        desk.until(begun)
        prompt.clear()
        least = time.monotonic() + LEAST_SECONDS
        while time.monotonic() < least or len(prompt.toPlainText()) < LETTERS:
            QTest.keyClicks(prompt, "x")
            desk.window.form.fold.toggle()
            desk.turn()
    finally:
        meter.stop()
    assert meter.longest < MOST_BEATS


@pytest.fixture
def desk(com: object, window_desk: WindowDesk) -> WindowDesk:
    return window_desk


@pytest.fixture
def hang() -> Iterator[Hang]:
    """Ends with the test, however that goes."""
    hang = Hang()
    yield hang
    hang.end()


@pytest.fixture
def photoshop(desk: WindowDesk) -> HangingPhotoshop:
    """In front of a panel that is ready."""
    desk.com.running = photoshop = HangingPhotoshop()
    open_document(photoshop)
    desk.until(desk.window.generate_button.isEnabled)
    return photoshop


@pytest.mark.usefixtures("photoshop")
def test_a_server_that_does_not_answer(desk: WindowDesk, hang: Hang) -> None:
    def connect() -> ScriptedServer:
        hang.wait()
        raise NotRunning("No server runs.")

    desk.panel.controller.server.connect = connect
    desk.panel.controller.server.drop()
    with usable(desk, hang.begun.is_set):
        desk.window.generate()
        desk.panel.controller.look_at_server()
    assert desk.panel.controller.working, "it hangs still"
    hang.end()
    desk.until(lambda: "No server" in desk.window.message.text())


@pytest.mark.parametrize("live", [False, True], ids=["generate", "live"])
def test_photoshop_hangs(
    photoshop: HangingPhotoshop, desk: WindowDesk, hang: Hang, *, live: bool
) -> None:
    desk.window.form.prompt.setPlainText("moss")
    photoshop.hang = hang
    with usable(desk, hang.begun.is_set):
        desk.click(desk.window.live.switch if live else desk.window.generate_button)
        desk.panel.controller.look()
        desk.panel.controller.apply("job-1", [0])
        if not live:
            desk.click(desk.window.cancel_button)
    assert desk.panel.controller.is_live if live else desk.panel.controller.working
    desk.window.stop()
    assert not hang.gave_up, "nothing waited for it"


@pytest.mark.usefixtures("photoshop")
def test_photoshop_is_busy(desk: WindowDesk) -> None:
    desk.com.failures = [RETRY_LATER] * 100_000
    with usable(desk, lambda: "busy" in desk.window.message.text()):
        desk.click(desk.window.generate_button)
    desk.com.failures = []


def test_photoshop_is_killed_in_the_middle(
    photoshop: HangingPhotoshop, desk: WindowDesk, hang: Hang
) -> None:
    photoshop.hang, photoshop.only, photoshop.dies = hang, CAPTURE, True
    with usable(desk, hang.begun.is_set):
        desk.click(desk.window.generate_button)
    desk.com.running = None
    hang.end()
    desk.until(lambda: "broke in the middle" in desk.window.message.text())
    desk.until(lambda: not desk.panel.controller.working)
    assert desk.server.requests == []
