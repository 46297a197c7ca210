"""What grpc.health.v1 says: "" is the gateway, the services' names are what they can do at the moment."""

from __future__ import annotations

import asyncio

from grpc_health.v1.health import aio as health_aio
from grpc_health.v1.health_pb2 import HealthCheckResponse

from core_server.jobs.engine import Engine, EngineState

WORKER_SERVICES = (
    "scumble.v1.GenerationService",
    "scumble.v1.LiveService",
    "scumble.v1.ModelService",
)
"""Serving while the worker is ready. Jobs and live sessions are accepted before that too, and wait."""
GATEWAY_SERVICES = ("", "scumble.v1.ServerService")
"""Serving as long as the gateway runs."""
ABSENT_SERVICES = ("scumble.v1.TrainingService",)
"""Not serving: not part of this version."""

_POLL_SECONDS = 0.25


class Health:
    """Keeps the health servicer true. `servicer` is what the server hosts."""

    def __init__(self, engine: Engine) -> None:
        self.servicer = health_aio.HealthServicer()
        self._engine = engine

    async def follow(self) -> None:
        """Follows the worker until cancelled; a look at its status costs nothing."""
        for service in GATEWAY_SERVICES:
            await self.servicer.set(service, HealthCheckResponse.SERVING)
        for service in ABSENT_SERVICES:
            await self.servicer.set(service, HealthCheckResponse.NOT_SERVING)
        told: bool | None = None
        while True:
            ready = self._engine.status.state is EngineState.READY
            if ready != told:
                told = ready
                for service in WORKER_SERVICES:
                    await self.servicer.set(
                        service,
                        HealthCheckResponse.SERVING if ready else HealthCheckResponse.NOT_SERVING,
                    )
            await asyncio.sleep(_POLL_SECONDS)

    async def end(self) -> None:
        """From now on nothing is served."""
        await self.servicer.enter_graceful_shutdown()
