"""The panel's settings: where the server is, the hot key, light or dark."""

from __future__ import annotations

from PySide6.QtCore import QSettings, Qt
from PySide6.QtGui import QColor, QGuiApplication, QKeySequence, QPalette
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

_MIDDLE = 128
"""Of lightness, 0..255."""

SCHEMES = {
    "system": Qt.ColorScheme.Unknown,
    "dark": Qt.ColorScheme.Dark,
    "light": Qt.ColorScheme.Light,
}


def apply_scheme(name: str) -> None:
    """Light, dark, or as the system has it."""
    scheme = SCHEMES.get(name, Qt.ColorScheme.Unknown)
    QGuiApplication.setPalette(QPalette())
    QGuiApplication.styleHints().setColorScheme(scheme)
    # Not every platform can be told; there the colours are set one by one.
    is_dark = QGuiApplication.palette().color(QPalette.ColorRole.Window).lightness() < _MIDDLE
    if scheme is Qt.ColorScheme.Dark and not is_dark:
        QGuiApplication.setPalette(_dark())


def _dark() -> QPalette:
    """Greys near those of Photoshop's own dark panels."""
    palette = QPalette(QColor("#535353"), QColor("#3a3a3a"))
    role = QPalette.ColorRole
    for place, color in (
        (role.Base, "#2b2b2b"),
        (role.AlternateBase, "#333333"),
        (role.ToolTipBase, "#2b2b2b"),
        (role.Highlight, "#3f7f8c"),
        (role.PlaceholderText, "#8a8a8a"),
    ):
        palette.setColor(place, QColor(color))
    for place in (
        role.WindowText,
        role.Text,
        role.ButtonText,
        role.ToolTipText,
        role.HighlightedText,
    ):
        palette.setColor(place, QColor("#e6e6e6"))
        palette.setColor(QPalette.ColorGroup.Disabled, place, QColor("#8a8a8a"))
    return palette


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
