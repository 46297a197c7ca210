"""The panel's Start button: a real server, found once it answers; one that does not start says why."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.photoshop_plugin.panel.window_desk import WindowDesk  # before Qt: it may skip

# isort: split
from PySide6.QtWidgets import QApplication

from tests.fakes.photoshop.com import Com

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the commands are shell scripts")


@pytest.fixture
def desk(application: QApplication, com: Com, tmp_path: Path) -> Iterator[WindowDesk]:
    """With a data folder of its own and no server."""
    desk = WindowDesk(application, com, tmp_path / "photoshop", data_dir=tmp_path / "data")
    yield desk
    desk.panel.close()
    desk.window.close()


def command(folder: Path, line: str) -> str:
    path = folder / "scumble-test"
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return str(path)


def test_a_server_is_started_found_and_ended(desk: WindowDesk, tmp_path: Path) -> None:
    status = desk.window.status
    desk.until(status.start_button.isVisible)
    started = f'shift; exec "{sys.executable}" -m core_server serve --model tiny --port 0 "$@"'
    desk.panel.store.setValue("command", command(tmp_path, started))
    desk.click(status.start_button)
    assert status.server_label.text() == "Server: starting"
    desk.until(lambda: status.server_label.text() == "Server: cpu", seconds=300)
    assert not status.start_button.isVisible()
    process = desk.panel._server_process._process
    assert process is not None
    desk.panel.close()
    assert process.poll() is not None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("echo The port is taken. >&2; exit 1", "did not start: The port is taken."),
        ("exit 3", "did not start: it ended with exit status 3"),
    ],
    ids=["says why", "says nothing"],
)
def test_a_server_that_ends_at_once(
    desk: WindowDesk, tmp_path: Path, line: str, words: str
) -> None:
    status = desk.window.status
    desk.until(status.start_button.isVisible)
    desk.panel.store.setValue("command", command(tmp_path, line))
    desk.click(status.start_button)
    desk.until(lambda: words in status.server_label.text())


def test_a_command_that_is_not_there(desk: WindowDesk, tmp_path: Path) -> None:
    desk.until(desk.window.status.start_button.isVisible)
    desk.panel.store.setValue("command", str(tmp_path / "none"))
    desk.click(desk.window.status.start_button)
    desk.until(lambda: "There is no command" in desk.window.message.text())
