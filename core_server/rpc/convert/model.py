"""Models, limits and the state of the worker."""

from __future__ import annotations

from typing import Any

from core_server.config import Limits
from core_server.jobs.engine import EngineState, EngineStatus
from core_server.pipelines.families.registry import FAMILIES
from core_server.pipelines.sources.recommended import Recommended
from core_server.pipelines.task import ModelProfile
from core_server.ranges import TOLD
from core_server.rpc.convert.canvas import to_proto_extent
from core_server.rpc.convert.fields import EnumTable
from scumble.v1 import model_service_pb2, server_service_pb2

WORKER_STATES = EnumTable(server_service_pb2.WorkerState, "WORKER_STATE_", EngineState)


def to_proto_model(profile: ModelProfile, status: EngineStatus) -> model_service_pb2.Model:
    """A model on this disk. A worker that starts loads the default one."""
    is_default = status.info is not None and status.info.default_model == profile.model_id
    state = model_service_pb2.MODEL_STATE_INSTALLED
    if status.state is EngineState.READY:
        if status.info is not None and profile.model_id in status.info.loaded:
            state = model_service_pb2.MODEL_STATE_LOADED
    elif is_default and status.state is not EngineState.FAILED:
        state = model_service_pb2.MODEL_STATE_LOADING
    return model_service_pb2.Model(
        **described(profile),
        model_id=profile.model_id,
        state=state,
        multiple=profile.multiple,
        is_default=is_default,
        best_extent=None if profile.best_extent is None else to_proto_extent(profile.best_extent),
        trained=profile.trained,
        kind="model",
        shortcuts=_shortcuts_of(profile),
    )


def _shortcuts_of(profile: ModelProfile) -> tuple[str, ...]:
    family = FAMILIES.get(profile.family)
    few = () if profile.few_step is None else ("few_step",)
    return few + (() if family is None else family.shortcuts)


def described(entry: ModelProfile | Recommended) -> dict[str, Any]:
    """Fields that a model has whether it is on this disk or not."""
    names = (
        "title", "family", "license", "commercial_use", "size_bytes", "num_inference_steps", "guidance_scale",
        "scheduler", "tasks", "description",
    )  # fmt: skip
    extents = {name: to_proto_extent(getattr(entry, name)) for name in ("min_extent", "max_extent")}
    return {name: getattr(entry, name) for name in names} | extents


def to_proto_limits(limits: Limits) -> server_service_pb2.Limits:
    """The limits a client may want to know before it asks."""
    names = server_service_pb2.Limits.DESCRIPTOR.fields_by_name
    return server_service_pb2.Limits(**{name: getattr(limits, name) for name in names})


def to_proto_ranges(limits: Limits) -> list[server_service_pb2.NumberRange]:
    """What numbers a request may carry, the server's own limits looked at."""
    own = {
        "parameters.num_inference_steps": limits.max_steps,
        "parameters.count": limits.max_count,
    }
    return [
        server_service_pb2.NumberRange(
            field=field,
            low=it.low,
            high=min(it.high, own.get(field, it.high)),
            above_low=it.above,
        )
        for field, it in TOLD.items()
    ]
