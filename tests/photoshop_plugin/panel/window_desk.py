"""A panel with its window, drawn off screen, and what is needed to use it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
if not os.environ.get("CI"):  # there it has to be there
    pytest.importorskip("PySide6.QtWidgets", reason="Qt or a library it needs is missing")

from PySide6.QtCore import QDeadlineTimer, QEventLoop, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication

from photoshop_plugin.host.photoshop import ComPhotoshop
from photoshop_plugin.panel.app import Panel
from tests.photoshop_plugin.scripted_server import ScriptedServer

if TYPE_CHECKING:
    from tests.fakes.photoshop.com import Com

LEFT = Qt.MouseButton.LeftButton
_KEPT: list[Panel] = []
"""Panels live as long as the program, as the real one does: a widget whose last reference a thread drops would be
destroyed there, which Qt does not survive."""


class WindowDesk:
    """A panel on the screen."""

    def __init__(
        self, application: QApplication, com: Com, folder: Path, data_dir: Path | None = None
    ) -> None:
        """data_dir: of real servers; without one a scripted server is there."""
        self.application, self.com, self.server = application, com, ScriptedServer()
        self.panel = Panel(
            application,
            lambda: ComPhotoshop(is_running=lambda: com.running is not None, patience_seconds=0.2),
            folder=folder,
            data_dir=data_dir,
        )
        if data_dir is None:
            self.panel.controller.server.connect = lambda: self.server
        self.window = self.panel.window
        self.panel.show()
        _KEPT.append(self.panel)

    def until(self, true: Callable[[], object], seconds: int = 60) -> None:
        """Lets Qt work until it is true. (QTest.qWait does not let other threads run.)"""
        deadline = QDeadlineTimer(1000 * seconds)
        while not true():
            assert not deadline.hasExpired(), self.window.message.text()
            self.turn()

    def turn(self) -> None:
        """One turn of the event loop."""
        self.application.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 20)

    def click(self, button: QAbstractButton) -> None:
        assert button.isEnabled(), button.text()
        QTest.mouseClick(button, LEFT)
