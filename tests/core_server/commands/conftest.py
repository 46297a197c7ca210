"""One gateway with a scripted runtime, and the command run against it as a user would run it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.core_server.rpc.gateway import TOKEN, Gateway, cancel_all, running_gateway

Scumble = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="package")
def shared_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("commands")) as running:
        running.run(running.jobs.engine.wait_ready())
        yield running


@pytest.fixture
def gateway(shared_gateway: Gateway) -> Iterator[Gateway]:
    """The same for one test, which leaves it idle."""
    yield shared_gateway
    cancel_all(shared_gateway)


@pytest.fixture
def scumble(gateway: Gateway, tmp_path: Path) -> Scumble:
    """Runs `scumble ARGUMENTS` in a folder of its own and returns what it said."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        server = {"SCUMBLE_SERVER": gateway.address, "SCUMBLE_TOKEN": TOKEN}
        return subprocess.run(
            [sys.executable, "-m", "core_server", *arguments],
            cwd=tmp_path,
            env=os.environ | server | environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run
