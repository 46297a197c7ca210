"""How a generation goes: a bar with words, and the picture of what is sent, painted, or live."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QImage, QPixmap
from PySide6.QtWidgets import QLabel, QProgressBar

from photoshop_plugin.panel.events import Sent
from photoshop_plugin.panel.pictures import request_picture, to_image
from photoshop_plugin.task import TITLES
from scumble.client import Event, JobState

PICTURE_SIDE = 220


class JobBar(QProgressBar):
    """Steps, stage and the time that is left."""

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Progress")

    def reset_to(self, words: str) -> None:
        """Busy, without an end in sight."""
        self.setRange(0, 0)
        self.setFormat(words)

    def show_event(self, event: Event) -> None:
        """News of the job."""
        if event.state is JobState.QUEUED and event.queue_position:
            self.setFormat(f"Waiting: {event.queue_position} ahead")
        progress = event.progress
        if progress is not None:
            self.setRange(0, 1000 if progress.steps else 0)
            self.setValue(round(1000 * progress.fraction) if progress.steps else 0)
            left = progress.remaining_seconds
            self.setFormat(progress.stage + (f", {left:.0f} s left" if left else ""))


class Preview(QLabel):
    """One picture, hidden while there is none."""

    def __init__(self) -> None:
        super().__init__(alignment=Qt.AlignmentFlag.AlignCenter)
        self.setAccessibleName("Preview")

    def show_image(self, image: QImage, tip: str) -> None:
        """At the screen's own resolution."""
        ratio = self.devicePixelRatioF()
        side = round(PICTURE_SIDE * ratio)
        scaled = QPixmap.fromImage(image).scaled(
            side,
            side,
            Qt.AspectRatioMode.KeepAspectRatio,
            Qt.TransformationMode.SmoothTransformation,
        )
        scaled.setDevicePixelRatio(ratio)
        self.setPixmap(scaled)
        self.setToolTip(tip)
        self.setVisible(True)

    def show_sent(self, sent: Sent) -> None:
        """What goes to the server."""
        picture, bounds = request_picture(sent.prepared), sent.prepared.bounds
        if picture is not None:
            tip = (
                f"{TITLES[sent.prepared.task]}, {bounds.width} x {bounds.height} px: red is painted, the dashed box "
                "is what comes back."
            )
            self.show_image(picture, tip)

    def show_event(self, event: Event) -> None:
        """What is being painted."""
        if event.preview is not None:
            self.show_image(to_image(event.preview), "What is being painted")
