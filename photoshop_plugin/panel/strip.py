"""The strip of results: thumbnails to pick from, newest first."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QIcon, QKeySequence, QPixmap, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from photoshop_plugin.panel.history import Entry, History, Result
from photoshop_plugin.panel.status import plain

ICON_SIDE = 96
_KEY = Qt.ItemDataRole.UserRole


class Strip(QWidget):
    """Thumbnails and what can be done with the selected ones."""

    apply_wanted = Signal(str, list)
    """Job id, indices: to become layers."""
    discard_wanted = Signal(str, list)
    """Job id, indices: to leave the list."""
    again_wanted = Signal(object)
    """Entry, whose settings are wanted back."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history
        self._entries: dict[str, Entry] = {}
        self.list = QListWidget()
        self.list.setViewMode(QListWidget.ViewMode.IconMode)
        self.list.setResizeMode(QListWidget.ResizeMode.Adjust)
        self.list.setMovement(QListWidget.Movement.Static)
        self.list.setIconSize(QSize(ICON_SIDE, ICON_SIDE))
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.list.setSpacing(4)
        self.list.setUniformItemSizes(True)
        self.list.setAccessibleName("Results")
        self.list.setMinimumHeight(ICON_SIDE + 40)
        self.apply_button = QPushButton("&Apply")
        self.all_button = QPushButton("Apply a&ll")
        self.discard_button = QPushButton("&Discard")
        self.again_button = QPushButton("Agai&n")
        tips = {
            self.apply_button: "Lay the selected pictures back as layers (Enter, or a double click)",
            self.all_button: "Lay all pictures of this generation back, the first one shown",
            self.discard_button: "Take the selected pictures off the list (Delete)",
            self.again_button: "Bring prompt, settings and seed of this picture back",
        }
        row = QHBoxLayout()
        for button, tip in tips.items():
            button.setToolTip(tip)
            button.setAccessibleDescription(tip)
            row.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.list, 1)
        layout.addLayout(row)
        self.list.itemSelectionChanged.connect(self._enable)
        self.list.itemActivated.connect(lambda _: self._apply())
        self.apply_button.clicked.connect(self._apply)
        self.all_button.clicked.connect(self._apply_all)
        self.discard_button.clicked.connect(self._discard)
        self.again_button.clicked.connect(self._again)
        QShortcut(QKeySequence.StandardKey.Delete, self.list, self._discard)
        self._enable()

    def show_entries(self, entries: Iterable[Entry]) -> None:
        """Shows these generations, newest first; the selection stays where it can."""
        selected = {item.data(_KEY) for item in self.list.selectedItems()}
        self.list.clear()
        self._entries = {}
        for entry in entries:
            self._entries[entry.job_id] = entry
            for result in entry.results:
                item = self._item(entry, result)
                self.list.addItem(item)
                item.setSelected(item.data(_KEY) in selected)
        self._enable()

    def select_first(self) -> None:
        """Selects the newest picture."""
        if self.list.count():
            self.list.clearSelection()
            self.list.item(0).setSelected(True)
            self.list.scrollToItem(self.list.item(0))

    def _item(self, entry: Entry, result: Result) -> QListWidgetItem:
        path = self._history.thumbnail(entry.job_id, result.index)
        item = QListWidgetItem(QIcon(QPixmap(str(path))), str(result.seed))
        words = entry.prompt or "no prompt"
        where = entry.document.name if entry.document is not None else "the patterns"
        # Under the mouse: larger, and with words that are never taken for markup.
        item.setToolTip(
            f'<img src="{path.absolute().as_uri()}"><br>{plain(words)}<br>seed {result.seed}, for {plain(where)}'
        )
        item.setData(Qt.ItemDataRole.AccessibleTextRole, f"{words}, seed {result.seed}")
        item.setData(_KEY, (entry.job_id, result.index))
        return item

    def _chosen(self) -> tuple[str, list[int]]:
        """The generation of the first selected picture, and which of its pictures are selected."""
        keys = [item.data(_KEY) for item in self.list.selectedItems()]
        if not keys:
            return "", []
        job_id = keys[0][0]
        return job_id, sorted(index for job, index in keys if job == job_id)

    def _enable(self) -> None:
        some = bool(self.list.selectedItems())
        for button in (
            self.apply_button,
            self.all_button,
            self.discard_button,
            self.again_button,
        ):
            button.setEnabled(some)

    def _apply(self) -> None:
        job_id, indices = self._chosen()
        if job_id:
            self.apply_wanted.emit(job_id, indices)

    def _apply_all(self) -> None:
        job_id, _ = self._chosen()
        if job_id:
            self.apply_wanted.emit(job_id, [it.index for it in self._entries[job_id].results])

    def _discard(self) -> None:
        chosen: dict[str, list[int]] = {}
        for item in self.list.selectedItems():
            job_id, index = item.data(_KEY)
            chosen.setdefault(job_id, []).append(index)
        for job_id, indices in chosen.items():
            self.discard_wanted.emit(job_id, indices)

    def _again(self) -> None:
        job_id, indices = self._chosen()
        if not job_id:
            return
        entry = self._entries[job_id]
        seed = next(it.seed for it in entry.results if it.index == indices[0])
        self.again_wanted.emit((entry, seed))
