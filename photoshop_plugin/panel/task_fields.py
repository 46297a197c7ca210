"""What single tasks need besides the prompt: px to add, a factor, a size. Only what the task needs is in sight."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QSpinBox, QStackedWidget, QWidget

from photoshop_plugin.document import Sides
from photoshop_plugin.task import Task

MAX_SIDE = 16384


class TaskFields(QStackedWidget):
    """One page a task that has any, and an empty one."""

    def __init__(self) -> None:
        super().__init__()
        self.sides = {name: _pixels(0) for name in Sides._fields}
        for name, box in self.sides.items():
            box.setAccessibleName(f"Add {name}")
            box.setToolTip(
                f"Canvas to add: {name}, px. With none at all, what is transparent is filled."
            )
            box.setPrefix({"left": "← ", "top": "↑ ", "right": "→ ", "bottom": "↓ "}[name])
        self.factor = QComboBox()
        self.factor.setAccessibleName("Factor")
        self.factor.setToolTip("How many times as large the new document is")
        for factor in (2, 4):
            self.factor.addItem(f"{factor} times as large", factor)
        self.pattern_side = _pixels(512)
        self.pattern_side.setMinimum(64)
        self.pattern_side.setAccessibleName("Size of the pattern")
        self.pattern_side.setToolTip("Side of the pattern, px")
        self.pattern_side.setSuffix(" px")
        self._pages = {
            Task.EXTEND: self._page("", *self.sides.values()),
            Task.UPSCALE: self._page("", self.factor),
            Task.PATTERN: self._page("Side", self.pattern_side),
        }
        self.show_for(Task.AUTO)

    def show_for(self, task: Task) -> None:
        """Shows what the task needs; nothing for most."""
        page = self._pages.get(task)
        self.setVisible(page is not None)
        if page is not None:
            self.setCurrentWidget(page)
            self.setMaximumHeight(page.sizeHint().height())

    @property
    def chosen_sides(self) -> Sides:
        """Px to add."""
        return Sides(*(box.value() for box in self.sides.values()))

    def show_settings(self, values: dict[str, Any]) -> None:
        """Brings back what a picture was made with."""
        for box, px in zip(self.sides.values(), values.get("sides", Sides()), strict=False):
            box.setValue(int(px))
        self.factor.setCurrentIndex(max(0, self.factor.findData(values.get("factor", 2))))
        self.pattern_side.setValue(int(values.get("pattern_side", 512)))

    def remember(self, store: QSettings) -> None:
        """Writes the settings."""
        for name, box in self.sides.items():
            store.setValue(f"side_{name}", box.value())
        store.setValue("factor", self.factor.currentData())
        store.setValue("pattern_side", self.pattern_side.value())

    def recall(self, store: QSettings) -> None:
        """Reads them back; what is missing or not a number keeps its default."""
        for name, box in (
            *((f"side_{name}", box) for name, box in self.sides.items()),
            ("pattern_side", self.pattern_side),
        ):
            value = str(store.value(name, ""))
            if value.isdigit():
                box.setValue(int(value))
        if str(store.value("factor", "")) == "4":
            self.factor.setCurrentIndex(1)

    def _page(self, label: str, *fields: QWidget) -> QWidget:
        page = QWidget()
        row = QHBoxLayout(page)
        row.setContentsMargins(0, 0, 0, 0)
        if label:
            row.addWidget(QLabel(label))
        for field in fields:
            row.addWidget(field, 1)
        self.addWidget(page)
        return page


def _pixels(value: int) -> QSpinBox:
    box = QSpinBox()
    box.setRange(0, MAX_SIDE)
    box.setSingleStep(64)
    box.setValue(value)
    return box
