"""No call gets in without the token: every method of every service, found through the server itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import pytest
from google.protobuf import descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from core_server.rpc.server import SERVICES
from core_server.rpc.token import owner_of
from tests.core_server.rpc.gateway import SECONDS, TOKEN, Gateway, refusal_of


@dataclass(frozen=True)
class Method:
    path: str
    client_streams: bool
    server_streams: bool


METHODS = [
    Method(f"/{service}/{method.name}", method.client_streaming, method.server_streaming)
    for service in SERVICES
    for method in descriptor_pool.Default().FindServiceByName(service).methods
] + [Method("/scumble.v1.GenerationService/NoSuchMethod", False, False)]

NO_ENTRY = {
    "nothing": [],
    "wrong": [("authorization", "Bearer wrong")],
    "empty": [("authorization", "Bearer ")],
    "prefix": [("authorization", f"Bearer {TOKEN[:-1]}")],
    "longer": [("authorization", f"Bearer {TOKEN}x")],
    "other_scheme": [("authorization", f"Basic {TOKEN}")],
    "bare": [("authorization", TOKEN)],
    "other_key": [("token", TOKEN)],
    "binary_key": [("authorization-bin", f"Bearer {TOKEN}".encode())],
}


def call(channel: grpc.Channel, method: Method, metadata: list[tuple[str, str | bytes]]) -> object:
    """Calls with an empty message."""
    kind = f"{'stream' if method.client_streams else 'unary'}_{'stream' if method.server_streams else 'unary'}"
    request = iter([b""]) if method.client_streams else b""
    return getattr(channel, kind)(method.path)(request, metadata=metadata, timeout=SECONDS)


@pytest.fixture(scope="module")
def bare_channel(shared_gateway: Gateway) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(shared_gateway.address) as channel:
        yield channel


def test_the_table_has_every_service(gateway: Gateway) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(gateway.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    [answer] = stub.ServerReflectionInfo(iter([request]))
    listed = {service.name for service in answer.list_services_response.service}
    assert listed == set(SERVICES)
    assert {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "scumble.v1.GenerationService",
    } < listed
    assert len(METHODS) > 20


@pytest.mark.parametrize("method", METHODS, ids=lambda it: it.path)
def test_every_method_needs_the_token(bare_channel: grpc.Channel, method: Method) -> None:
    for metadata in NO_ENTRY.values():
        refusal = refusal_of(lambda metadata=metadata: call(bare_channel, method, metadata))
        assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
        assert refusal.reason == "UNAUTHENTICATED"


def test_the_refusal_says_where_the_token_is(gateway: Gateway, bare_channel: grpc.Channel) -> None:
    method = METHODS[0]
    missing = refusal_of(lambda: call(bare_channel, method, []))
    wrong = refusal_of(lambda: call(bare_channel, method, NO_ENTRY["wrong"]))
    assert "authorization: Bearer <token>" in missing.message
    assert "is not this server's" in wrong.message
    for refusal in (missing, wrong):
        assert str(gateway.config.data_dir / "token") in refusal.message
        assert TOKEN not in refusal.message


@pytest.mark.parametrize(
    "value",
    [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Bearer   {TOKEN}"],
    ids=["usual", "lower", "spaces"],
)
def test_the_token_opens(bare_channel: grpc.Channel, value: str) -> None:
    refusal = refusal_of(lambda: call(bare_channel, METHODS[-1], [("authorization", value)]))
    assert refusal.code is grpc.StatusCode.UNIMPLEMENTED, (
        "let in, and told that there is no such method"
    )


def test_owners_are_told_apart_without_telling_the_token() -> None:
    assert owner_of("a" * 43) != owner_of("b" * 43)
    assert owner_of(TOKEN) == owner_of(TOKEN)
    assert TOKEN not in owner_of(TOKEN)
