"""What the panel is connected to: the server, and the document in front."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from photoshop_plugin.panel.events import DocumentSeen, ServerSeen
from scumble.client import WorkerState


class Status(QWidget):
    """Two lines of text, and what can be done about them."""

    def __init__(self) -> None:
        super().__init__()
        self.document_label, self.server_label = label("Document"), label("Server")
        self.start_button = QPushButton("S&tart server")
        self.start_button.setToolTip(
            "Start `scumble serve` on this computer; it ends with the panel"
        )
        self.settings_button = QPushButton("Settings …")
        head = QHBoxLayout()
        head.addWidget(self.server_label, 1)
        head.addWidget(self.start_button)
        head.addWidget(self.settings_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(head)
        layout.addWidget(self.document_label)

    def show_document(self, seen: DocumentSeen) -> None:
        """Its name, size and selection, or why there is none."""
        document = seen.document
        if document is None:
            self.document_label.setText(plain(seen.trouble))
            return
        size = f"{document.extent.width} x {document.extent.height} px"
        box = document.selection
        selected = f"selected {box.width} x {box.height} px" if box else "nothing selected"
        selected = "a quick mask" if document.quick_mask else selected
        line = f"<b>{plain(document.name)}</b>, {size}, {document.bits} bit, {selected}"
        if seen.trouble:
            line += f"<br>{plain(seen.trouble)}"
        self.document_label.setText(line)

    def show_server(self, seen: ServerSeen) -> None:
        """Its device, or why there is none."""
        info = seen.info
        self.start_button.setVisible(info is None)
        if info is None:
            self.server_label.setText(plain(seen.trouble))
            return
        line = f"Server: {info.device or 'starting'}"
        if info.worker_state is not WorkerState.READY and info.worker_message:
            line = f"Server: {info.worker_message}"
        self.server_label.setText(plain(line))


def label(name: str) -> QLabel:
    """A line of text that wraps; its text can be selected, and its name is for screen readers."""
    made = QLabel(wordWrap=True)
    made.setAccessibleName(name)
    made.setTextFormat(Qt.TextFormat.RichText)
    made.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return made


def plain(text: str) -> str:
    """Text that is never taken for markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;")
