"""A real server whose worker has started, which on a busy machine takes longer than a command waits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scumble.client import WorkerState, connect
from tests.real_server import RealServer, running_server

START_SECONDS = 300


@contextmanager
def ready_server(data_dir: Path) -> Iterator[RealServer]:
    """With the tiny model."""
    with running_server(data_dir) as server:
        deadline = time.monotonic() + START_SECONDS
        with connect(data_dir=server.data_dir) as client:
            while client.server_info().worker_state is not WorkerState.READY:
                assert time.monotonic() < deadline, "the worker did not start"
                time.sleep(0.1)
        yield server
