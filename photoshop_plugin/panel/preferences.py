"""The panel's settings: where the server is, the hot key, light or dark."""

from __future__ import annotations

from PySide6.QtCore import QSettings, Qt
from PySide6.QtGui import QGuiApplication, QKeySequence
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QKeySequenceEdit,
    QLabel,
    QLineEdit,
    QWidget,
)

from photoshop_plugin.panel.hotkey import DEFAULT_KEYS

SCHEMES = {
    "system": Qt.ColorScheme.Unknown,
    "dark": Qt.ColorScheme.Dark,
    "light": Qt.ColorScheme.Light,
}


def apply_scheme(name: str) -> None:
    """Light, dark, or as the system has it."""
    QGuiApplication.styleHints().setColorScheme(SCHEMES.get(name, Qt.ColorScheme.Unknown))


class Preferences(QDialog):
    """Reads from the store, writes to it when accepted."""

    def __init__(self, store: QSettings, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self.setWindowTitle("Scumble settings")
        self.server = QLineEdit(str(store.value("server", "")))
        self.server.setPlaceholderText("found by itself on this computer")
        self.command = QLineEdit(str(store.value("command", "")))
        self.command.setPlaceholderText("scumble")
        self.keys = QKeySequenceEdit(QKeySequence(str(store.value("hotkey", DEFAULT_KEYS))))
        self.keys.setMaximumSequenceLength(1)
        self.keys.setClearButtonEnabled(True)
        self.scheme = QComboBox()
        for name in SCHEMES:
            self.scheme.addItem(name.capitalize(), name)
        self.scheme.setCurrentIndex(max(0, self.scheme.findData(store.value("scheme", "system"))))
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        rows = QFormLayout(self)
        rows.addRow("&Server (host:port)", self.server)
        rows.addRow("&Command that starts it", self.command)
        rows.addRow("&Hot key", self.keys)
        rows.addRow("&Look", self.scheme)
        note = QLabel(
            "The hot key generates while Photoshop has the keyboard. A server on another computer also needs its "
            "token in SCUMBLE_TOKEN.",
            wordWrap=True,
        )
        rows.addRow(note)
        rows.addRow(buttons)

    def accept(self) -> None:
        """Writes the settings."""
        self._store.setValue("server", self.server.text().strip())
        self._store.setValue("command", self.command.text().strip())
        self._store.setValue("hotkey", self.keys.keySequence().toString())
        self._store.setValue("scheme", self.scheme.currentData())
        self._store.sync()
        super().accept()
