"""One gateway for all tests that only talk to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core_server.config import Limits
from tests.core_server.rpc.gateway import Gateway, cancel_all, running_gateway

LIMITS = Limits(max_pixels=4096 * 1024, max_side=4096, max_upload_bytes=32 << 20)


@pytest.fixture(scope="session")
def shared_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with a scripted runtime and small limits."""
    with running_gateway(tmp_path_factory.mktemp("gateway"), limits=LIMITS) as running:
        running.run(running.jobs.engine.wait_ready())
        yield running


@pytest.fixture
def gateway(shared_gateway: Gateway) -> Iterator[Gateway]:
    """The same for one test, which leaves it idle."""
    yield shared_gateway
    cancel_all(shared_gateway)
