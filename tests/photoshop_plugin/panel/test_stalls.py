"""The panel never blocks: the longest time in which its event loop could do nothing, while somebody else hangs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.photoshop_plugin.panel.window_desk import WindowDesk  # before Qt: it may skip

# isort: split
from PySide6.QtCore import QTimer
from PySide6.QtTest import QTest

from scumble.client import NotRunning
from tests.fakes.photoshop import Application
from tests.fakes.photoshop.objects import method
from tests.photoshop_plugin.scene import open_document
from tests.photoshop_plugin.scripted_server import ScriptedServer

HANGS_SECONDS = 3.0
MOST_SECONDS = HANGS_SECONDS / 2
"""On a busy test machine; on a quiet one it is a hundredth of that."""
CALL_FAILED = -2147023170
RETRY_LATER = -2147417846


class StallMeter:
    """The longest time between two turns of the event loop, seconds."""

    def __init__(self) -> None:
        self.longest, self._last = 0.0, time.monotonic()
        self._timer = QTimer()
        self._timer.timeout.connect(self._tick)
        self._timer.start(1)

    def _tick(self) -> None:
        now = time.monotonic()
        self.longest, self._last = max(self.longest, now - self._last), now


class HangingPhotoshop(Application):
    """Answers late, once it is told to."""

    _own = Application._own | {"hangs"}
    hangs = 0.0

    @method
    def doJavaScript(self, script: str, arguments: object, mode: int) -> str:  # noqa: N802
        time.sleep(self.hangs)
        return super().doJavaScript(script, arguments, mode)


@contextmanager
def measured(desk: WindowDesk) -> Iterator[StallMeter]:
    """Afterwards the artist could type, choose and look at things all the time."""
    began, meter = time.monotonic(), StallMeter()
    yield meter
    prompt = desk.window.form.prompt
    while time.monotonic() - began < HANGS_SECONDS:
        QTest.keyClicks(prompt, "x")
        desk.window.form.fold.toggle()
        desk.turn()
    assert meter.longest < MOST_SECONDS
    assert len(prompt.toPlainText()) > 50


@pytest.fixture
def desk(com: object, window_desk: WindowDesk) -> WindowDesk:
    return window_desk


@pytest.fixture
def hanging(desk: WindowDesk) -> HangingPhotoshop:
    """In front of a panel that is ready."""
    desk.com.running = photoshop = HangingPhotoshop()
    open_document(photoshop)
    desk.until(desk.window.generate_button.isEnabled)
    return photoshop


def test_a_server_that_does_not_answer(hanging: HangingPhotoshop, desk: WindowDesk) -> None:
    def connect() -> ScriptedServer:
        time.sleep(HANGS_SECONDS)
        raise NotRunning("No server runs.")

    desk.panel.controller.server.connect = connect
    desk.panel.controller.server.drop()
    with measured(desk):
        desk.window.generate()
        desk.panel.controller.look_at_server()
    desk.until(lambda: "No server" in desk.window.message.text())


@pytest.mark.parametrize("live", [False, True], ids=["generate", "live"])
def test_photoshop_hangs(hanging: HangingPhotoshop, desk: WindowDesk, *, live: bool) -> None:
    hanging.hangs = HANGS_SECONDS
    desk.window.form.prompt.setPlainText("moss")
    with measured(desk):
        desk.click(desk.window.live.switch if live else desk.window.generate_button)
        desk.panel.controller.look()
        desk.panel.controller.apply("job-1", [0])
        if not live:
            desk.click(desk.window.cancel_button)
    desk.window.stop()
    hanging.hangs = 0.0


def test_photoshop_is_busy(hanging: HangingPhotoshop, desk: WindowDesk) -> None:
    desk.com.failures = [RETRY_LATER] * 100_000
    with measured(desk):
        desk.click(desk.window.generate_button)
    desk.until(lambda: "busy" in desk.window.message.text())
    desk.com.failures.clear()


def test_photoshop_is_killed_in_the_middle(hanging: HangingPhotoshop, desk: WindowDesk) -> None:
    hanging.hangs = HANGS_SECONDS / 3
    with measured(desk):
        desk.click(desk.window.generate_button)
        time.sleep(0)
        desk.com.failures = [CALL_FAILED]
        desk.com.running = None
    desk.until(lambda: "broke in the middle" in desk.window.message.text())
    desk.until(lambda: not desk.panel.controller.working)
