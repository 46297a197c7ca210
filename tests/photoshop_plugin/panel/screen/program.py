"""The panel as a program of its own: `python -m tests.photoshop_plugin.panel.screen.program FOLDER SCHEME`.

Four times a second FOLDER/seen.json has the places of the widgets on the screen, and what can be seen and changed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from PySide6.QtCore import QPoint, QTimer
from PySide6.QtWidgets import QApplication, QWidget

from photoshop_plugin.host.photoshop import ComPhotoshop
from photoshop_plugin.panel.app import Panel
from tests.fakes.photoshop import Application
from tests.fakes.photoshop.com import installed
from tests.photoshop_plugin.scene import open_document
from tests.photoshop_plugin.scripted_server import ScriptedServer


def main(folder: Path, scheme: str) -> int:
    """Until it is killed."""
    with installed() as com:
        com.running = Application()
        document = open_document(com.running)
        application = QApplication([])
        application.setStyle("Fusion")
        panel = Panel(application, lambda: ComPhotoshop(is_running=lambda: True), folder=folder)
        panel.store.setValue("scheme", scheme)
        panel._use_settings()
        server = ScriptedServer()
        panel.controller.server.connect = lambda: server
        panel.show()

        def tell() -> None:
            window, form = panel.window, panel.window.form
            focus = application.focusWidget()
            seen = {
                "places": {
                    "prompt": _place(form.prompt),
                    "generate": _place(window.generate_button),
                    "live": _place(window.live.switch),
                    "make": _place(window.live.apply_button),
                    "fold": _place(form.fold),
                    "first": _first(window.strip.list),
                    "apply": _place(window.strip.apply_button),
                    "all": _place(window.strip.all_button),
                },
                "ready": window.generate_button.isEnabled(),
                "prompt": form.prompt.toPlainText(),
                "results": window.strip.list.count(),
                "message": window.message.text(),
                "live": panel.controller.is_live,
                "focus": focus.accessibleName() or getattr(focus, "text", str)() if focus else "",
                "active": window.isActiveWindow(),
                "history": [state.name for state in document.history],
                "requests": [[it.prompt, it.count] for it in server.requests],
            }
            new = folder / "seen.part"
            new.write_text(json.dumps(seen))
            new.replace(folder / "seen.json")

        timer = QTimer()
        timer.timeout.connect(tell)
        timer.start(250)
        return application.exec()


def _place(widget: QWidget) -> list[int] | None:
    """The middle on the screen, if it can be seen."""
    if not widget.isVisible():
        return None
    middle = widget.mapToGlobal(QPoint(widget.width() // 2, widget.height() // 2))
    return [middle.x(), middle.y()]


def _first(results: Any) -> list[int] | None:
    if not results.count():
        return None
    middle = results.viewport().mapToGlobal(results.visualItemRect(results.item(0)).center())
    return [middle.x(), middle.y()]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
