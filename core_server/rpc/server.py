"""The gRPC server: services, interceptors, limits. Everything it hosts is named here."""

from __future__ import annotations

import asyncio
import contextlib

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from core_server.config import ServerConfig
from core_server.jobs.service import JobService
from core_server.pipelines.catalogue import Catalogue
from core_server.rpc.address import listen
from core_server.rpc.auth import TokenInterceptor
from core_server.rpc.calls import CallInterceptor
from core_server.rpc.connections import Connections
from core_server.rpc.generation_servicer import GenerationServicer
from core_server.rpc.health import Health
from core_server.rpc.live_servicer import LiveServicer
from core_server.rpc.model_servicer import ModelServicer
from core_server.rpc.server_servicer import ServerServicer
from core_server.rpc.shelf import ModelShelf
from core_server.rpc.token import TOKEN_FILE
from core_server.rpc.tokens import TokenBook
from core_server.rpc.training_servicer import TrainingServicer
from scumble.v1 import (
    generation_service_pb2,
    generation_service_pb2_grpc,
    live_service_pb2,
    live_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
    server_service_pb2,
    server_service_pb2_grpc,
    training_service_pb2,
    training_service_pb2_grpc,
)

_FILES = (
    generation_service_pb2,
    live_service_pb2,
    model_service_pb2,
    server_service_pb2,
    training_service_pb2,
    health_pb2,
)
SERVICES: tuple[str, ...] = (
    *(it.full_name for file in _FILES for it in file.DESCRIPTOR.services_by_name.values()),
    reflection.SERVICE_NAME,
)
"""Full names of all services, as reflection lists them."""

MAX_CONCURRENT_CALLS = 1024
STOP_GRACE_SECONDS = 2.0
_KEEPALIVE_SECONDS = 60
_MIN_PING_SECONDS = 10
_HANDSHAKE_SECONDS = 10
_IDLE_SECONDS = 30 * 60
_REVOKED_SECONDS = 0.5
_METADATA_BYTES = 16 * 1024
_FRAME_BYTES = 1024 * 1024
_ONLY_UNCOMPRESSED = 1
"""Bit 0 is "identity". gRPC measures a message before it unpacks it, so a small one could be a bomb; and pictures on
the same computer gain nothing from being packed."""


class GatewayServer:
    """A bound gRPC server around a job service. `address`: "host:port" for clients on this computer.

    Not yet accepting calls: `start` does that. Errors: those of `address.listen`.
    """

    def __init__(self, config: ServerConfig, jobs: JobService, tokens: TokenBook) -> None:
        connections = Connections(config.limits.max_connections)
        self._calls = CallInterceptor(config.limits.max_calls_per_owner, connections)
        self._guard = TokenInterceptor(tokens, str(config.data_dir / TOKEN_FILE))
        self._health = Health(jobs.engine)
        self._chores: list[asyncio.Task[None]] = []
        self._server = grpc.aio.server(
            interceptors=[self._guard, self._calls],
            options=_options(config, connections),
            maximum_concurrent_rpcs=MAX_CONCURRENT_CALLS,
        )
        _add_services(self._server, config, jobs, self._health)
        self.address = listen(self._server, config)
        connections.listens_at(self.address)

    async def start(self) -> None:
        """Accepts calls from now on."""
        self._chores = [
            asyncio.create_task(self._health.follow(), name="health"),
            asyncio.create_task(self._end_revoked(), name="end revoked calls"),
        ]
        await self._server.start()

    async def stop(self, grace_seconds: float = STOP_GRACE_SECONDS) -> None:
        """Accepts no more calls, ends streams so that their readers reconnect, lets short calls finish."""
        for chore in self._chores:
            chore.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await chore
        if self._chores:
            await self._health.end()
        stopping = asyncio.create_task(self._server.stop(grace_seconds))
        await asyncio.sleep(
            0
        )  # refuse new calls first, so that no stream begins after the others ended
        self._calls.end_streams()
        await stopping

    async def _end_revoked(self) -> None:
        """A token that is removed ends its watches and live sessions too, not only its next calls."""
        while True:
            await asyncio.sleep(_REVOKED_SECONDS)
            self._calls.end_revoked(self._guard.why_not)


def _options(config: ServerConfig, connections: Connections) -> list[tuple[str, int]]:
    most = config.limits.max_message_bytes
    return [
        ("grpc.max_receive_message_length", most),
        ("grpc.max_send_message_length", most),
        # A live picture in one frame, not in fifty of 16 KiB each.
        ("grpc.http2.max_frame_size", _FRAME_BYTES),
        # Linux would let two servers share a port and give each half of the calls.
        ("grpc.so_reuseport", 0),
        # Hosts that sleep or change networks leave dead connections behind: find out, and let clients find out.
        ("grpc.keepalive_time_ms", _KEEPALIVE_SECONDS * 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.compression_enabled_algorithms_bitset", _ONLY_UNCOMPRESSED),
        # Whoever connects and says nothing is dropped soon, and so is what has fallen asleep: clients come back.
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_SECONDS * 1000),
        ("grpc.max_connection_idle_ms", _IDLE_SECONDS * 1000),
        ("grpc.max_allowed_incoming_connections", connections.hard_limit),
        ("grpc.max_concurrent_streams", 2 * config.limits.max_calls_per_owner),
        ("grpc.max_metadata_size", _METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", _METADATA_BYTES),
        ("grpc.http2.min_ping_interval_without_data_ms", _MIN_PING_SECONDS * 1000),
    ]


def _add_services(
    server: grpc.aio.Server, config: ServerConfig, jobs: JobService, health: Health
) -> None:
    shelf = ModelShelf(Catalogue(config.model, config.data_dir), jobs.engine)
    generation_service_pb2_grpc.add_GenerationServiceServicer_to_server(
        GenerationServicer(jobs, config.limits, shelf), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(
        ModelServicer(jobs.engine, config, shelf), server
    )
    server_service_pb2_grpc.add_ServerServiceServicer_to_server(
        ServerServicer(jobs, config.limits), server
    )
    live_service_pb2_grpc.add_LiveServiceServicer_to_server(
        LiveServicer(jobs, config.limits, shelf), server
    )
    training_service_pb2_grpc.add_TrainingServiceServicer_to_server(TrainingServicer(), server)
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    reflection.enable_server_reflection(SERVICES, server)
