"""The switch of live painting, and what can be done with its picture."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QWidget

from photoshop_plugin.panel.events import LiveShown


class LiveBar(QWidget):
    """Shows nothing but what it was told; the window decides."""

    apply_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.switch = QPushButton("L&ive")
        self.switch.setCheckable(True)
        self.switch.setToolTip(
            "Paint what is selected, or all, again and again while you draw; only the panel shows it"
        )
        self.told = QLabel()
        self.told.setAccessibleName("Live painting")
        self.apply_button = QPushButton("Lay &back")
        self.apply_button.setToolTip("Makes the live picture a masked layer; ends Live")
        self.apply_button.clicked.connect(self.apply_wanted)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.switch)
        layout.addWidget(self.told, 1)
        layout.addWidget(self.apply_button)
        self.end()

    def begin(self) -> None:
        """It was switched on."""
        self.switch.setText("L&ive is on")
        self.told.setText("Reading the document")

    def end(self) -> None:
        """It is over."""
        self.switch.setText("L&ive")
        self.switch.setChecked(False)
        self.told.clear()
        self.apply_button.hide()

    def tell(self, shown: LiveShown) -> None:
        """How it goes."""
        if shown.picture is None:
            self.told.setText(shown.waiting)
            return
        self.told.setText(f"{shown.picture.latency:.2g} s a picture")
        self.apply_button.setVisible(True)
