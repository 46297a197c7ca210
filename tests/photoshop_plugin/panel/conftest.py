"""A controller over the in-memory Photoshop and a scripted server; its news are kept in order."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from photoshop_plugin.host.photoshop import ComPhotoshop
from photoshop_plugin.panel.controller import PanelController
from photoshop_plugin.panel.events import PanelEvent
from photoshop_plugin.panel.history import History
from tests.fakes.photoshop.com import Com
from tests.photoshop_plugin.scripted_server import ScriptedServer

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

    from tests.photoshop_plugin.panel.window_desk import WindowDesk

E = TypeVar("E")


@dataclass
class Desk:
    """One panel without its window."""

    com: Com
    server: ScriptedServer
    history: History
    events: queue.Queue[PanelEvent] = field(default_factory=queue.Queue)
    seen: list[PanelEvent] = field(default_factory=list)
    controller: PanelController = field(init=False)

    def __post_init__(self) -> None:
        self.controller = PanelController(
            lambda: ComPhotoshop(
                is_running=lambda: self.com.running is not None, patience_seconds=0.2
            ),
            lambda: self.server,
            self.history,
            thumbnail=lambda pixels: b"PNG of %d" % pixels.width,
            notify=self.events.put,
        )

    def wait_for(self, kind: type[E], found: Callable[[E], bool] = lambda _: True) -> E:
        """The next news of this kind."""
        while True:
            event = self.events.get(timeout=60)
            self.seen.append(event)
            if isinstance(event, kind) and found(event):
                return event


@pytest.fixture
def desk(com: Com, tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(com, ScriptedServer(), History(tmp_path / "photoshop"))
    yield desk
    desk.controller.close()


@pytest.fixture(scope="session")
def application() -> QApplication:
    """Qt has one."""
    from tests.photoshop_plugin.panel.window_desk import QApplication  # noqa: PLC0415 - may skip

    return QApplication.instance() or QApplication([])


@pytest.fixture
def window_desk(application: QApplication, com: Com, tmp_path: Path) -> Iterator[WindowDesk]:
    """A panel with its window."""
    from tests.photoshop_plugin.panel.window_desk import WindowDesk  # noqa: PLC0415 - may skip

    desk = WindowDesk(application, com, tmp_path / "photoshop")
    yield desk
    desk.panel.close()
    desk.window.close()
