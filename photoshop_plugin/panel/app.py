"""Starts the panel: `python -m photoshop_plugin panel`."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import QSettings, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap
from PySide6.QtWidgets import QApplication, QMenu, QSystemTrayIcon

from photoshop_plugin.host.interface import PhotoshopHost
from photoshop_plugin.panel.controller import PanelController
from photoshop_plugin.panel.events import PanelEvent, ServerSeen, Stopped
from photoshop_plugin.panel.history import History
from photoshop_plugin.panel.hotkey import DEFAULT_KEYS, HotKey
from photoshop_plugin.panel.pictures import thumbnail
from photoshop_plugin.panel.preferences import Preferences, apply_scheme
from photoshop_plugin.panel.window import PanelWindow
from scumble.client import CannotStart, Client, connect, default_data_dir
from scumble.client.server_process import ServerProcess

_STARTING = "Server: starting"
OpenHost = Callable[[], AbstractContextManager[PhotoshopHost]]


class Panel:
    """The application: window, tray icon, hot key, and the server it started, if any.

    folder: where settings and history live. open_host: connects to Photoshop, on the thread that calls it.
    """

    def __init__(
        self,
        application: QApplication,
        open_host: OpenHost,
        *,
        folder: Path,
        server: str | None = None,
        data_dir: Path | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._application = application
        self._server, self._data_dir = server, data_dir
        self.store = QSettings(str(folder / "panel.ini"), QSettings.Format.IniFormat)
        self._server_process, self._log = ServerProcess(), folder / "server.log"
        self._window: PanelWindow | None = None
        history = History(folder)
        self.controller = PanelController(
            open_host, self._connect, history, thumbnail=thumbnail, notify=self._notify
        )
        self.window = self._window = PanelWindow(self.controller, history, self.store)
        self.window.start_server_wanted.connect(self.start_server)
        self.window.settings_wanted.connect(self.show_preferences)
        self.hotkey = HotKey(self.window.generate)
        application.installNativeEventFilter(self.hotkey)
        self.tray = self._make_tray()
        # With a tray icon closing the window only hides it; without one it ends the program.
        application.setQuitOnLastWindowClosed(self.tray is None)
        application.aboutToQuit.connect(self.close)
        self._use_settings()

    def show(self) -> None:
        """Brings the panel to the front."""
        self.window.show()
        self.window.raise_()

    def start_server(self) -> None:
        """Starts `scumble serve`; the panel finds it by itself once it answers."""
        command = str(self.store.value("command", ""))
        try:
            self._server_process.start(command, self._data_dir, self._log)
        except CannotStart as error:
            self._notify(Stopped(str(error)))
            return
        self.window.status.server_label.setText(_STARTING)

    def show_preferences(self) -> None:
        """The settings dialog."""
        if Preferences(self.store, self.window).exec():
            self._use_settings()

    def close(self) -> None:
        """Remembers, cancels what runs, and ends the server that was started from here. Jobs are durable."""
        if self._window is None:
            return
        self._window = None
        self.window.stop()
        self.window.remember()
        self.hotkey.release()
        self._application.removeNativeEventFilter(self.hotkey)
        self._application.aboutToQuit.disconnect(self.close)
        self.controller.close()
        self._server_process.stop()

    def _use_settings(self) -> None:
        apply_scheme(str(self.store.value("scheme", "system")))
        if os.name == "nt":
            sentence = self.hotkey.register(str(self.store.value("hotkey", DEFAULT_KEYS)))
            if sentence:
                self._notify(Stopped(sentence))

    def _connect(self) -> Client:
        address = self._server or str(self.store.value("server", "")) or None
        return connect(address, data_dir=self._data_dir)

    def _notify(self, event: PanelEvent) -> None:
        if isinstance(event, ServerSeen) and event.info is None:
            if self._server_process.running:
                event = replace(event, trouble=_STARTING)
            elif words := self._server_process.last_words():
                event = replace(event, trouble=f"The server did not start: {words}")
        window = self._window
        if window is not None:
            window.news.emit(event)

    def _make_tray(self) -> QSystemTrayIcon | None:
        icon = _icon()
        self._application.setWindowIcon(icon)
        if not QSystemTrayIcon.isSystemTrayAvailable():
            return None
        tray = QSystemTrayIcon(icon)
        self._menu = QMenu()
        self._menu.addAction("Show Scumble", self.show)
        self._menu.addAction("Settings …", self.show_preferences)
        self._menu.addAction("Quit", self._application.quit)
        tray.setContextMenu(self._menu)
        tray.setToolTip("Scumble")
        tray.activated.connect(lambda _: self.show())
        tray.show()
        return tray


def run(open_host: OpenHost, *, server: str | None = None, data_dir: Path | None = None) -> int:
    """Shows the panel until it is closed; returns the exit status."""
    application = QApplication([])
    application.setApplicationName("Scumble")
    application.setStyle("Fusion")
    folder = (data_dir or default_data_dir()) / "photoshop"
    panel = Panel(application, open_host, folder=folder, server=server, data_dir=data_dir)
    panel.show()
    return application.exec()


def _icon() -> QIcon:
    """A stroke of paint, broken as when it is scumbled."""
    picture = QPixmap(64, 64)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    for k, color in enumerate(("#e0662f", "#f0a04b", "#3f7f8c")):
        painter.setBrush(QColor(color))
        painter.drawRoundedRect(6 + 6 * k, 10 + 16 * k, 52 - 10 * k, 12, 6, 6)
    painter.end()
    return QIcon(picture)
