"""Strangers, and clients that mean harm: bounded, refused, and nobody else notices."""

from __future__ import annotations

import contextlib
import gc
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest

from core_server.config import MIB, Limits
from core_server.rpc import connections
from core_server.rpc.connections import RESERVE
from scumble.v1 import generation_service_pb2 as messages
from scumble.v1 import image_pb2, server_service_pb2
from scumble.v1.server_service_pb2_grpc import ServerServiceStub
from tests.core_server.rpc.asking import create, finished, header_of, text_to_image, watch
from tests.core_server.rpc.gateway import (
    SECONDS,
    TOKEN,
    Bearer,
    Gateway,
    refusal_of,
    running_gateway,
)

LIMITS = replace(
    Limits(),
    max_message_bytes=4 * MIB,
    max_connections=64,
    max_calls_per_owner=20,
    max_queued_jobs_per_owner=5,
    max_upload_pause_seconds=4,
)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
INFO = server_service_pb2.GetServerInfoRequest()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("hostile"), limits=LIMITS) as gateway:
        gateway.run(gateway.jobs.engine.wait_ready())
        yield gateway


@pytest.fixture(autouse=True)
def others_do_not_notice(server: Gateway) -> Iterator[None]:
    server.about.GetServerInfo(INFO)  # a client that was there before
    before = psutil.Process().memory_info().rss
    yield
    assert server.about.GetServerInfo(INFO, timeout=SECONDS).version
    assert finished(server, create(server, text_to_image()).job_id).results
    # The client is in this process, too: a refusal and its traceback refer to each other and to what was sent, and gRPC
    # frees it in its own time.
    gc.collect()
    deadline = time.monotonic() + SECONDS
    while (grown := psutil.Process().memory_info().rss - before) >= 200 * MIB:
        assert time.monotonic() < deadline, f"grew by {grown // MIB} MiB"
        time.sleep(0.05)


def tcp(server: Gateway) -> socket.socket:
    host, _, port = server.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=SECONDS)


def held_by(server: Gateway) -> int:
    """Connections that the server has taken and not closed."""
    port = int(server.address.rpartition(":")[2])
    open_ = [it for it in psutil.Process().net_connections("tcp") if it.status == "ESTABLISHED"]
    return sum(it.laddr.port == port for it in open_)


def dropped(connection: socket.socket, seconds: float) -> bool:
    connection.settimeout(seconds)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def test_many_connections_that_say_nothing(server: Gateway) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(2000):
            with contextlib.suppress(OSError):
                stack.enter_context(tcp(server))
        deadline = time.monotonic() + SECONDS
        while held_by(server) > LIMITS.max_connections + RESERVE + 40:
            assert time.monotonic() < deadline, "what is over the limit is closed"
            time.sleep(0.1)


def test_one_connection_too_many_is_told_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_LOOK_SECONDS", 0)  # or the reserve may be taken meanwhile
    most = 6
    few = replace(LIMITS, max_connections=most)
    with running_gateway(tmp_path, limits=few) as server, contextlib.ExitStack() as stack:
        server.about.GetServerInfo(INFO)

        def another() -> ServerServiceStub:
            channel = grpc.insecure_channel(
                server.address, options=[("grpc.use_local_subchannel_pool", 1)]
            )
            bearer = Bearer([("authorization", f"Bearer {TOKEN}")])
            return ServerServiceStub(grpc.intercept_channel(stack.enter_context(channel), bearer))

        until_told = time.monotonic() + SECONDS
        while True:
            client = another()
            try:
                client.GetServerInfo(INFO)
            except grpc.RpcError:
                break
            assert time.monotonic() < until_told
        refusal = refusal_of(lambda: client.GetServerInfo(INFO))
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refusal.metadata == {"limit": "max_connections", "value": str(most)}
        assert f"{most} connections" in refusal.message
        assert server.about.GetServerInfo(INFO).version, "who was there before goes on"
        stack.close()
        client = another()
        while True:  # until the server has seen the others go
            try:
                assert client.GetServerInfo(INFO).limits.max_connections == most
                break
            except grpc.RpcError:
                assert time.monotonic() < until_told
                time.sleep(0.1)


def test_a_handshake_that_never_comes_is_dropped(server: Gateway) -> None:
    with tcp(server) as silent, tcp(server) as slow:
        for byte in PREFACE[:10]:
            slow.send(bytes([byte]))
            time.sleep(0.05)
        assert dropped(silent, SECONDS)
        assert dropped(slow, SECONDS)


@pytest.mark.parametrize(
    "junk",
    [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", bytes(range(256)) * 64],
    ids=["web_page", "tls", "noise"],
)
def test_what_is_no_grpc_is_dropped(server: Gateway, junk: bytes) -> None:
    with tcp(server) as connection:
        connection.sendall(junk)
        assert dropped(connection, SECONDS)


def test_a_frame_larger_than_allowed_ends_the_connection(server: Gateway) -> None:
    with tcp(server) as connection:
        frame = (16 * MIB - 1).to_bytes(3, "big") + b"\x00\x00" + (1).to_bytes(4, "big")
        connection.sendall(PREFACE + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + frame)
        assert dropped(connection, SECONDS)


def test_giant_metadata_is_refused(server: Gateway) -> None:
    metadata = [("x-filler", "x" * 12_000), ("x-more", "y" * 12_000)]
    refusal = refusal_of(lambda: server.about.GetServerInfo(INFO, metadata=metadata))
    assert refusal.code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)


def test_a_message_over_the_limit_is_refused(server: Gateway) -> None:
    wish = text_to_image("x" * (LIMITS.max_message_bytes + 1))
    assert refusal_of(lambda: create(server, wish)).code is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("size", [4096, 300 * MIB], ids=["harmless", "bomb"])
def test_no_compressed_message_is_taken(server: Gateway, size: int) -> None:
    """0.3 MiB would become 300 MiB; so not even what would be harmless is unpacked."""
    bearer = [("authorization", f"Bearer {TOKEN}")]
    with grpc.insecure_channel(server.address, compression=grpc.Compression.Gzip) as channel:
        call = channel.unary_unary("/scumble.v1.GenerationService/CreateJob")
        with pytest.raises(grpc.RpcError) as refused:
            call(bytes(size), metadata=bearer, timeout=5 * SECONDS)
        assert refused.value.code() in (
            grpc.StatusCode.UNIMPLEMENTED,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            grpc.StatusCode.INTERNAL,
        ), "INVALID_ARGUMENT would mean that it was unpacked and read"


def test_an_upload_that_stops_is_ended(server: Gateway) -> None:
    stop = threading.Event()

    def parts() -> Iterator[messages.UploadImageRequest]:
        array = np.zeros((64, 64, 3), np.uint8)
        yield messages.UploadImageRequest(header=header_of(array))
        yield messages.UploadImageRequest(chunk=bytes(10))
        stop.wait(SECONDS)

    refusal = refusal_of(lambda: server.generation.UploadImage(parts()))
    stop.set()
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "4 s (max_upload_pause_seconds)" in refusal.message


def test_one_token_has_only_so_many_calls_and_jobs(server: Gateway) -> None:
    slow = [create(server, text_to_image("slow")) for _ in range(LIMITS.max_queued_jobs_per_owner)]
    try:
        refusal = refusal_of(lambda: create(server, text_to_image()))
        assert refusal.reason == "LIMIT_EXCEEDED"
        assert refusal.metadata["limit"] == "max_queued_jobs_per_owner"
        assert "5 jobs of this token" in refusal.message
        request = messages.WatchJobRequest(job_id=slow[-1].job_id)
        watches = [server.generation.WatchJob(request) for _ in range(LIMITS.max_calls_per_owner)]
        for it in watches:
            next(it)
        refusal = refusal_of(lambda: server.about.GetServerInfo(INFO))
        assert refusal.metadata == {"limit": "max_calls_per_owner", "value": "20"}
        for it in watches:
            it.cancel()
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                server.about.GetServerInfo(INFO)
            except grpc.RpcError:
                assert time.monotonic() < deadline, "ended watches still count"
                time.sleep(0.05)
            else:
                break
    finally:
        for job in reversed(slow):
            server.generation.CancelJob(messages.CancelJobRequest(job_id=job.job_id))
        for job in slow:
            watch(server, job.job_id)


def test_a_reader_that_does_not_read_holds_up_nobody(server: Gateway) -> None:
    job = create(server, text_to_image("previews", count=16))  # 320 previews
    lazy = server.generation.WatchJob(messages.WatchJobRequest(job_id=job.job_id))
    next(lazy)  # and never again, until the job is done
    assert finished(server, job.job_id).results
    states = [it.event.state for it in lazy if it.event.WhichOneof("event") == "state"]
    assert states[-1] == 3, "it missed previews, and no state"


def test_headers_that_lie_about_their_pixels(server: Gateway) -> None:
    array = np.zeros((16, 16, 3), np.uint8)
    for extent, chunk in (((1 << 31) - 1, 16), ((16384, 16384), bytes(10))):
        wide = extent if isinstance(extent, tuple) else (extent, extent)
        header = header_of(array, extent=image_pb2.Extent(width=wide[0], height=wide[1]))
        parts = [messages.UploadImageRequest(header=header)]
        parts += [messages.UploadImageRequest(chunk=bytes(chunk))]
        refusal = refusal_of(lambda it=parts: server.generation.UploadImage(iter(it)))
        assert refusal.reason == "INVALID_REQUEST"
        assert str(LIMITS.max_pixels) in refusal.message


@pytest.mark.skipif(sys.platform == "win32", reason="file modes")
def test_nothing_in_the_data_folder_is_for_others(server: Gateway) -> None:
    open_to_others = [
        path
        for path in [server.config.data_dir, *Path(server.config.data_dir).rglob("*")]
        if path.stat().st_mode & 0o077
        and not any(
            it.stat().st_mode & 0o077 == 0
            for it in path.parents
            if it.is_relative_to(server.config.data_dir)
        )
    ]
    assert [path.name for path in open_to_others if path != server.config.data_dir] == []
