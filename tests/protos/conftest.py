"""One gateway with a scripted runtime for all tests of the client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import scumble.client
from tests.core_server.rpc.gateway import TOKEN, Gateway, cancel_all, running_gateway


@pytest.fixture(scope="package")
def shared_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("client")) as running:
        running.run(running.jobs.engine.wait_ready())
        yield running


@pytest.fixture
def gateway(shared_gateway: Gateway) -> Iterator[Gateway]:
    """The same for one test, which leaves it idle."""
    yield shared_gateway
    cancel_all(shared_gateway)


@pytest.fixture
def client(gateway: Gateway) -> Iterator[scumble.client.Client]:
    with scumble.client.connect(gateway.address, token=TOKEN) as connected:
        yield connected
