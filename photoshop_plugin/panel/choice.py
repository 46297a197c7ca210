"""A list of what the server has, by name. A choice that it does not have (any more, or yet) stays chosen."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox


class Choice(QComboBox):
    """none: what the first entry is called, which stands for ""."""

    def __init__(self, none: str) -> None:
        super().__init__()
        self._none = none
        self.addItem(none, "")
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)

    @property
    def value(self) -> str:
        """The chosen name, "" for none."""
        return str(self.currentData() or "")

    def choose(self, value: str) -> None:
        """Chooses a name, or "" for none."""
        place = self.findData(value)
        if place < 0:
            self.addItem(value, value)
            place = self.count() - 1
        self.setCurrentIndex(place)

    def offer(self, entries: Iterable[tuple[str, str, str]]) -> None:
        """What there is: (name, title, tip) each."""
        entries, chosen = list(entries), self.value
        if entries == self._offered():
            return  # a list that is open stays open
        self.clear()
        self.addItem(self._none, "")
        for name, title, tip in entries:
            self.addItem(title, name)
            self.setItemData(self.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.choose(chosen)

    def _offered(self) -> list[tuple[str, str, str]]:
        role = Qt.ItemDataRole.ToolTipRole
        return [
            (str(self.itemData(k)), self.itemText(k), str(self.itemData(k, role) or ""))
            for k in range(1, self.count())
        ]
