"""ServerService: who answers."""

from __future__ import annotations

import msgspec

from core_server import __version__
from core_server.config import Limits
from core_server.jobs.service import JobService
from core_server.rpc.auth import current_caller
from core_server.rpc.calls import Context
from core_server.rpc.convert.canvas import to_proto_extent
from core_server.rpc.convert.model import WORKER_STATES, to_proto_limits, to_proto_ranges
from core_server.rpc.convert.parameters import PRECISIONS
from core_server.rpc.known import profile_of
from scumble.v1 import server_service_pb2 as messages
from scumble.v1.server_service_pb2_grpc import ServerServiceServicer


class ServerServicer(ServerServiceServicer):
    """What the call means is said in server_service.proto."""

    def __init__(self, jobs: JobService, limits: Limits) -> None:
        self._jobs = jobs
        self._limits = limits

    async def GetServerInfo(
        self, request: messages.GetServerInfoRequest, context: Context
    ) -> messages.GetServerInfoResponse:
        """Never waits: what the worker has not told yet stays empty."""
        status, caller = self._jobs.engine.status, current_caller()
        message = messages.GetServerInfoResponse(
            version=__version__,
            worker_state=WORKER_STATES.to_proto(status.state),
            worker_message=status.message,
            limits=to_proto_limits(self._limits),
            ranges=to_proto_ranges(self._limits),
            active_jobs=self._jobs.active_jobs(),
            token_name=caller.name,
            token_scopes=caller.scopes,
        )
        info = status.info
        if info is not None:
            message.device = info.device
            message.device_memory_bytes = info.memory_bytes
            message.device_free_bytes = info.free_bytes
            message.default_model = info.default_model
            message.features.extend(sorted({task for it in info.models for task in it.tasks}))
            message.denoiser_precisions.extend(
                PRECISIONS.to_proto(it) for it in info.denoiser_precisions
            )
            message.caches.extend(
                messages.CacheFigures(**msgspec.structs.asdict(it)) for it in info.caches
            )
            profile = profile_of(info, "")
            if profile is not None:
                message.recommended_extent.CopyFrom(to_proto_extent(profile.max_extent))
        return message
