"""A Windows computer with a Photoshop that can be started, be busy and die, and our program beside it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.photoshop import Application
from tests.photoshop_plugin.wine import windows
from tests.photoshop_plugin.wine.relay import Relay

SERVER = windows.windows_path(windows.HERE / "com_server.py")
PATIENCE_SECONDS = 4.0


@dataclass
class Computer:
    """relay: what runs inside Photoshop. client: one process for all tests. process: Photoshop's, if it is open."""

    relay: Relay
    client: windows.Client
    process: subprocess.Popen[bytes] | None = None

    def photoshop(self) -> Application:
        """Open, as just started; the process that is there stays."""
        relay = self.relay
        relay.photoshop, relay.busy, relay.dies = Application(), 0.0, False
        relay.photoshop.drives = {"C:": windows.PREFIX / "drive_c", "Z:": Path("/")}
        if self.process is None or self.process.poll() is not None:
            self.process = windows.start("Photoshop.exe", SERVER, str(relay.port))
            assert self.process.stdout is not None
            while (line := self.process.stdout.readline()).strip() != b"ready":
                assert line, "Photoshop.exe did not start"
        return relay.photoshop

    def kill_photoshop(self) -> None:
        """No good-bye."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)
            self.process = None


@pytest.fixture(scope="session")
def _running() -> Iterator[Computer]:
    """Wine, with Photoshop installed."""
    windows.prepare()
    windows.boot()
    relay = Relay()
    installer = windows.start("Photoshop.exe", SERVER, str(relay.port), "register")
    assert installer.communicate(timeout=60) == (b"", None)
    computer = Computer(relay, windows.Client(PATIENCE_SECONDS))
    yield computer
    computer.client.close()
    computer.kill_photoshop()
    relay.close()
    windows.shut_down()


@pytest.fixture
def computer(_running: Computer) -> Computer:
    """With nothing to count yet."""
    _running.relay.starts = 0
    return _running


@pytest.fixture
def photoshop(computer: Computer) -> Application:
    """Open on that computer, without documents."""
    return computer.photoshop()


@pytest.fixture
def client(computer: Computer) -> windows.Client:
    """Our program."""
    return computer.client
