"""Starting and stopping a local server, with a stand-in for the `scumble` command."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from scumble.client import CannotStart
from scumble.client.server_process import ServerProcess

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script")


def command(folder: Path, body: str) -> str:
    path = folder / "scumble"
    path.write_text(f"#!{sys.executable}\nimport sys, time, signal\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_starts_and_stops(tmp_path: Path) -> None:
    server = ServerProcess()
    log = tmp_path / "logs" / "server.log"
    server.start(
        command(tmp_path, "print(sys.argv[1:], flush=True); time.sleep(3600)"), tmp_path, log
    )
    assert server.running
    deadline = time.monotonic() + 60
    while not log.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert log.read_text().strip() == str(["serve", "--data-dir", str(tmp_path)])
    assert server.last_words() == ""
    server.stop()
    assert not server.running


def test_the_last_words_of_a_server_that_ended(tmp_path: Path) -> None:
    server = ServerProcess()
    server.start(
        command(tmp_path, "print('starting'); sys.exit('The port is taken.')"),
        None,
        tmp_path / "log",
    )
    deadline = time.monotonic() + 60
    while server.running and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.last_words() == "The port is taken."


def test_no_such_command(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match=r"There is no command .*preferences"):
        ServerProcess().start(str(tmp_path / "nothing"), None, tmp_path / "log")
