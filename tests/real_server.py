"""A real Scumble server in a process of its own, for tests that need the whole thing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 300
STOP_SECONDS = 100
"""On a busy machine."""


@dataclass
class RealServer:
    """A running `scumble serve`. address: host:port."""

    process: subprocess.Popen[bytes]
    data_dir: Path
    address: str
    token: str

    def kill(self) -> None:
        """kill -9, as a crash would."""
        self.process.kill()
        self.process.wait(timeout=STOP_SECONDS)

    def stop(self) -> int:
        """Asks it to stop, as Ctrl-C does; returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=STOP_SECONDS)


def start_server(
    data_dir: Path,
    *arguments: str,
    model: str = "tiny",
    port: int = 0,
    python: str = sys.executable,
) -> RealServer:
    """Starts a server on a free port (or this one) and waits until it answers where it listens and its worker has
    started, which on a busy machine takes longer than a client waits.

    python: an interpreter that has the server installed.
    """
    announcement = data_dir / "server.json"
    announcement.unlink(missing_ok=True)
    command = [python, "-m", "core_server", "serve", "--port", str(port), "--model", model]
    data_dir.mkdir(parents=True, exist_ok=True)
    log = (data_dir / "server.out").open("ab")
    process = subprocess.Popen(
        [*command, "--data-dir", str(data_dir), *arguments],
        stdout=log,
        stderr=log,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    deadline = time.monotonic() + START_SECONDS
    while not announcement.is_file():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(
                f"the server did not start:\n{(data_dir / 'server.out').read_text()}"
            )
        time.sleep(0.02)
    address = json.loads(announcement.read_text())["address"]
    server = RealServer(process, data_dir, address, (data_dir / "token").read_text().strip())
    if "--tls-client-ca" not in arguments:
        wait_for_worker(process, data_dir)
    return server


def wait_for_worker(process: subprocess.Popen[bytes], data_dir: Path) -> None:
    """Until the worker of a server that answers has started, or cannot."""
    import scumble.client  # noqa: PLC0415 - in Blender an extension brings it, later

    starting = scumble.client.WorkerState.STARTING
    deadline = time.monotonic() + START_SECONDS
    with scumble.client.connect(data_dir=data_dir) as client:
        while client.server_info().worker_state is starting:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise AssertionError("the worker did not start")
            time.sleep(0.1)


@contextmanager
def running_server(data_dir: Path, *arguments: str, model: str = "tiny") -> Iterator[RealServer]:
    """A server for the length of a block; stopped cleanly afterwards, or killed if it does not stop."""
    server = start_server(data_dir, *arguments, model=model)
    try:
        yield server
    finally:
        try:
            server.stop()
        except subprocess.TimeoutExpired:
            server.kill()
