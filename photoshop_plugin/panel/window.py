"""The panel's window: shows what the controller tells and passes on what the artist wants. Decides nothing itself."""

from __future__ import annotations

from contextlib import suppress
from typing import Protocol

from PySide6.QtCore import QSettings, Qt, QTimer, Signal
from PySide6.QtGui import QCloseEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from photoshop_plugin.document import Document
from photoshop_plugin.errors import DocumentRefused
from photoshop_plugin.panel.events import (
    Applied,
    DocumentSeen,
    Finished,
    LiveEnded,
    LiveShown,
    PanelEvent,
    Sent,
    ServerSeen,
    Stopped,
    Working,
)
from photoshop_plugin.panel.form import Form
from photoshop_plugin.panel.history import Entry, History
from photoshop_plugin.panel.live_bar import LiveBar
from photoshop_plugin.panel.pictures import to_image
from photoshop_plugin.panel.progress import JobBar, Preview
from photoshop_plugin.panel.status import Status, label, plain
from photoshop_plugin.panel.strip import Strip
from photoshop_plugin.settings import Settings
from photoshop_plugin.task import TITLES, Task, resolve
from scumble.client import WorkerState

LOOK_MILLISECONDS = 600
"""How often the document in front is looked at, only while the panel can be seen and nothing runs."""
SERVER_MILLISECONDS = 5000
"""How often the server is; as often as the document while its worker starts."""
FOLLOW_MILLISECONDS = 200
LIVE_STRENGTH = 60
"""Percent: at 100 a live picture would not follow what is drawn."""
_AS_LAYERS = "Laid back as {names}. One step back in Photoshop takes it away."
_APPLIED = {
    Task.UPSCALE: "Opened as {names}; it has not been saved yet.",
    Task.PATTERN: "{names} is among Photoshop's patterns now.",
}


class Controller(Protocol):
    """What the window needs of `PanelController`."""

    @property
    def working(self) -> bool: ...
    @property
    def entries(self) -> tuple[Entry, ...]: ...
    def look(self) -> None: ...
    def look_at_server(self) -> None: ...
    def generate(self, settings: Settings) -> None: ...
    def cancel(self) -> None: ...
    def apply(self, job_id: str, indices: list[int]) -> None: ...
    def discard(self, job_id: str, indices: list[int]) -> None: ...
    @property
    def is_live(self) -> bool: ...
    def start_live(self, settings: Settings) -> None: ...
    def change_live(self, settings: Settings) -> None: ...
    def stop_live(self) -> None: ...
    def apply_live(self) -> None: ...
    def close(self) -> None: ...


class PanelWindow(QWidget):
    """The whole panel. Send news through `news`, from any thread; it is handled on Qt's."""

    news = Signal(object)
    start_server_wanted = Signal()
    settings_wanted = Signal()
    hidden = Signal()

    def __init__(self, controller: Controller, history: History, store: QSettings) -> None:
        super().__init__(None, Qt.WindowType.Tool | Qt.WindowType.WindowStaysOnTopHint)
        self._controller, self._store = controller, store
        self._server_ready = False
        self._document: Document | None = None
        self._refusal = ""
        self.setWindowTitle("Scumble")
        self.setAccessibleName("Scumble panel")
        self.status, self.live = Status(), LiveBar()
        self.form = Form()
        self.generate_button = QPushButton("&Generate")
        self.generate_button.setDefault(True)
        self.cancel_button = QPushButton("&Cancel")
        self.cancel_button.setToolTip("Ends the job on the server (Esc)")
        self.bar, self.picture = JobBar(), Preview()
        self.message = label("Message")
        self.strip = Strip(history)
        self._arrange()
        self._connect()
        self.form.recall(store)
        self.strip.show_entries(controller.entries)
        self._show_working()

    def handle(self, event: PanelEvent) -> None:
        """Shows news. On Qt's thread only."""
        match event:
            case DocumentSeen():
                self._show_document(event)
            case ServerSeen():
                self._show_server(event)
            case Sent():
                self.picture.show_sent(event)
                self.bar.setFormat("Waiting" if event.job_id else "Sending")
            case Working():
                self.picture.show_event(event.event)
                self.bar.show_event(event.event)
            case Finished():
                self.strip.show_entries(self._controller.entries)
                self.strip.select_first()
                if not self.form.lock.isChecked():
                    self.form.show_seed(event.entry.results[0].seed)
                many = len(event.entry.results)
                done = "Done." if many == 1 else f"Done: {many} pictures."
                self._say(f"{done} Choose and apply; nothing has been changed in Photoshop yet.")
                self._show_working()
            case Applied():
                names = ", ".join(layer.name for layer in event.layers)
                self._say(_APPLIED.get(event.task, _AS_LAYERS).format(names=names))
            case LiveShown():
                self._show_live(event)
            case LiveEnded():
                self._end_live()
                self._say(event.sentence, trouble=True)
            case Stopped():
                self._say(event.sentence or "Cancelled.", trouble=bool(event.sentence))
                self._show_working()

    def generate(self) -> None:
        """What the button, Ctrl+Enter and the global hot key do."""
        if self._controller.working:
            return
        try:
            settings = self.form.settings()
        except ValueError as error:
            self._say(str(error), trouble=True)
            return
        self._say("")
        self._end_live()
        self._controller.generate(settings)
        self._show_working()
        self.bar.reset_to("Reading the document")

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 - Qt's name
        """Settings and place are remembered; nobody would see live pictures."""
        self._end_live()
        self.remember()
        self.hidden.emit()
        super().closeEvent(event)

    def stop(self) -> None:
        """Looks no more, at neither Photoshop nor the server."""
        self._end_live()
        for timer in self._timers:
            timer.stop()

    def remember(self) -> None:
        """Writes settings and place to the store."""
        self.form.remember(self._store)
        self._store.setValue("geometry", self.saveGeometry())
        self._store.sync()

    def _show_document(self, seen: DocumentSeen) -> None:
        self.status.show_document(seen)
        self._document = seen.document if seen.ready else None
        self._guess()

    def _guess(self) -> None:
        """Says what Generate would do, and whether it would work."""
        title, self._refusal = "", ""
        if self._document is not None or self.form.chosen_task is Task.PATTERN:
            form = self.form
            prompt, strength = form.prompt.toPlainText(), form.strength.value() / 100
            with suppress(DocumentRefused):
                title = TITLES[resolve(Task.AUTO, self._document, prompt, strength)]
            try:
                resolve(form.chosen_task, self._document, prompt, strength)
            except DocumentRefused as error:
                self._refusal = str(error)
        self.form.show_guess(title)
        self.generate_button.setToolTip(self._refusal or "Ctrl+Enter")
        self._enable()

    def _show_server(self, seen: ServerSeen) -> None:
        self.status.show_server(seen)
        info = seen.info
        state = None if info is None else info.worker_state
        self._server_ready = state not in (None, WorkerState.FAILED)
        starting = state in (WorkerState.STARTING, WorkerState.RESTARTING)
        self._server_timer.setInterval(LOOK_MILLISECONDS if starting else SERVER_MILLISECONDS)
        if info is not None and state is WorkerState.READY:
            self.form.show_models(seen.models, info.denoiser_precisions)
            self.form.look.show_adapters(seen.adapters)
            self.form.look.show_styles(seen.styles)
        self._enable()

    def _switch_live(self, on: bool) -> None:
        if not on:
            self._end_live()
            return
        self.form.lend_strength(LIVE_STRENGTH)
        try:
            self._controller.start_live(self.form.settings())
        except ValueError as error:
            self._end_live()
            self._say(str(error), trouble=True)
            return
        self._say("")
        self.live.begin()
        self._enable()

    def _show_live(self, shown: LiveShown) -> None:
        if not self.live.switch.isChecked():
            return  # it was on its way when the artist ended it
        self.live.tell(shown)
        if shown.seen is not None:
            tip = "The live picture of what you draw; Photoshop is not changed"
            self.picture.show_image(to_image(shown.seen), tip)

    def _follow_live(self) -> None:
        """What the artist changes in the form shows in the next live picture."""
        if self._controller.is_live:
            with suppress(ValueError):  # a seed that is being typed
                self._controller.change_live(self.form.settings())

    def _apply_live(self) -> None:
        self._controller.apply_live()
        self._end_live()

    def _end_live(self) -> None:
        """Whether it runs or not."""
        self._controller.stop_live()
        self.live.end()
        self.form.take_back_strength()
        self._show_working()

    def _show_working(self) -> None:
        working = self._controller.working
        self.bar.setVisible(working)
        self.cancel_button.setVisible(working)
        self.generate_button.setVisible(not working)
        if not working:
            self.picture.setVisible(False)
        self._enable()

    def _enable(self) -> None:
        self.generate_button.setEnabled(
            self._server_ready
            and (self._document is not None or self.form.chosen_task is Task.PATTERN)
            and not self._refusal
            and not self._controller.working
        )
        self.live.switch.setEnabled(
            self.live.switch.isChecked()
            or (self._server_ready and self._document is not None and not self._controller.working)
        )

    def _say(self, text: str, *, trouble: bool = False) -> None:
        self.message.setText(f"<b>{plain(text)}</b>" if trouble else plain(text))
        self.message.setVisible(bool(text))

    def _escape(self) -> None:
        self._controller.cancel()
        if self._controller.is_live:
            self._end_live()

    def _again(self, chosen: tuple[Entry, int]) -> None:
        entry, seed = chosen
        self.form.show_settings(entry.settings, seed)
        self._say("The settings of that picture are back; change what you like, then Generate.")

    def _discard(self, job_id: str, indices: list[int]) -> None:
        self._controller.discard(job_id, indices)
        self.strip.show_entries(self._controller.entries)

    def _look(self) -> None:
        busy = self._controller.working or self._controller.is_live
        if self.isVisible() and not self.isMinimized() and not busy:
            self._controller.look()

    def _look_at_server(self) -> None:
        if self.isVisible():
            self._controller.look_at_server()

    def _arrange(self) -> None:
        buttons = QHBoxLayout()
        buttons.addWidget(self.bar, 1)
        buttons.addWidget(self.generate_button, 1)
        buttons.addWidget(self.cancel_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.addWidget(self.status)
        layout.addWidget(self.form)
        layout.addLayout(buttons)
        layout.addWidget(self.live)
        layout.addWidget(self.picture)
        layout.addWidget(self.message)
        layout.addWidget(self.strip, 1)
        geometry = self._store.value("geometry")
        if geometry is not None:
            self.restoreGeometry(geometry)
        else:
            self.resize(360, 620)

    def _connect(self) -> None:
        self.form.prompt.textChanged.connect(self._guess)
        self.form.strength.valueChanged.connect(self._guess)
        self.form.task.currentIndexChanged.connect(self._guess)
        self.news.connect(self.handle, Qt.ConnectionType.QueuedConnection)
        self.generate_button.clicked.connect(self.generate)
        self.form.prompt.submitted.connect(self.generate)
        self.cancel_button.clicked.connect(self._controller.cancel)
        self.status.start_button.clicked.connect(self.start_server_wanted)
        self.status.settings_button.clicked.connect(self.settings_wanted)
        QShortcut(QKeySequence(Qt.Key.Key_Escape), self, self._escape)
        self.strip.apply_wanted.connect(self._controller.apply)
        self.strip.discard_wanted.connect(self._discard)
        self.strip.again_wanted.connect(self._again)
        self.live.switch.clicked.connect(self._switch_live)
        self.live.apply_wanted.connect(self._apply_live)
        self._timers = []
        for milliseconds, look in (
            (LOOK_MILLISECONDS, self._look),
            (SERVER_MILLISECONDS, self._look_at_server),
            (FOLLOW_MILLISECONDS, self._follow_live),
        ):
            timer = QTimer(self)
            timer.timeout.connect(look)
            timer.start(milliseconds)
            self._timers.append(timer)
        self._server_timer = self._timers[1]
        QTimer.singleShot(0, self._look)
        QTimer.singleShot(0, self._look_at_server)
