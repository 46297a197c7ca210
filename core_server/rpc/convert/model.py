"""Models, limits and the state of the worker."""

from __future__ import annotations

from core_server.config import Limits
from core_server.jobs.engine import EngineState, EngineStatus
from core_server.pipelines.task import ModelProfile
from core_server.rpc.convert.canvas import to_proto_extent
from core_server.rpc.convert.fields import EnumTable
from scumble.v1 import model_service_pb2, server_service_pb2

WORKER_STATES = EnumTable(server_service_pb2.WorkerState, "WORKER_STATE_", EngineState)


def to_proto_model(profile: ModelProfile, status: EngineStatus) -> model_service_pb2.Model:
    """A model on this disk. The default one is on the device whenever the worker is ready."""
    is_default = status.info is not None and status.info.default_model == profile.model_id
    states = {
        EngineState.READY: model_service_pb2.MODEL_STATE_LOADED,
        EngineState.STARTING: model_service_pb2.MODEL_STATE_LOADING,
        EngineState.RESTARTING: model_service_pb2.MODEL_STATE_LOADING,
    }
    state = states.get(status.state) if is_default else None
    return model_service_pb2.Model(
        model_id=profile.model_id,
        title=profile.title,
        family=profile.family,
        state=state or model_service_pb2.MODEL_STATE_INSTALLED,
        license=profile.license,
        commercial_use=profile.commercial_use,
        size_bytes=profile.size_bytes,
        min_extent=to_proto_extent(profile.min_extent),
        max_extent=to_proto_extent(profile.max_extent),
        multiple=profile.multiple,
        num_inference_steps=profile.num_inference_steps,
        guidance_scale=profile.guidance_scale,
        scheduler=profile.scheduler,
        tasks=profile.tasks,
        description=profile.description,
        is_default=is_default,
        best_extent=None if profile.best_extent is None else to_proto_extent(profile.best_extent),
        trained=profile.trained,
        kind="model",
    )


def to_proto_limits(limits: Limits) -> server_service_pb2.Limits:
    """The limits a client may want to know before it asks."""
    names = server_service_pb2.Limits.DESCRIPTOR.fields_by_name
    return server_service_pb2.Limits(**{name: getattr(limits, name) for name in names})
