"""An in-memory Photoshop behind the real photoshop-python-api, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from photoshop_plugin.cli import HostFactory
from photoshop_plugin.host.photoshop import ComPhotoshop
from tests.fakes.photoshop import Application
from tests.fakes.photoshop.com import Com, installed


@pytest.fixture(scope="session")
def computer() -> Iterator[Com]:
    """A computer with COM and photoshop-python-api."""
    with installed() as com:
        yield com


@pytest.fixture
def com(computer: Com) -> Iterator[Com]:
    """The same, with nothing open."""
    computer.running, computer.starts, computer.failures = None, 0, []
    computer.installed, computer.version, computer.announced = ["200"], "200", True
    yield computer
    computer.running = None


@pytest.fixture
def photoshop(com: Com) -> Application:
    """A running Photoshop without documents."""
    com.running = Application()
    return com.running


@pytest.fixture
def host(com: Com) -> Iterator[ComPhotoshop]:
    """Our host, connected to whatever runs."""
    with ComPhotoshop(is_running=lambda: com.running is not None, patience_seconds=1.0) as host:
        yield host


def open_host(com: Com) -> HostFactory:
    """How the command line gets at the in-memory Photoshop."""
    return lambda patience_seconds, on_busy: ComPhotoshop(
        is_running=lambda: com.running is not None,
        patience_seconds=patience_seconds,
        on_busy=on_busy,
    )
