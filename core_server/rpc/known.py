"""What the worker has told about its models, and which names a request may therefore use."""

from __future__ import annotations

import asyncio
import contextlib

from core_server.errors import ModelNotFound, NotAllowed, Unavailable
from core_server.jobs.engine import Engine
from core_server.pipelines.request import Request, task_name
from core_server.pipelines.schedulers import SCHEDULERS, scheduler_choice
from core_server.pipelines.settings import require_task
from core_server.pipelines.task import ModelProfile, RuntimeInfo
from core_server.rpc.auth import current_caller
from core_server.rpc.convert.fields import shown
from core_server.rpc.tokens import ADMIN

WAIT_SECONDS = 30.0


def profile_of(info: RuntimeInfo, model: str) -> ModelProfile | None:
    """The profile of a model; "" is the default one. None for models the worker does not know (yet)."""
    wanted = model or info.default_model
    return next((profile for profile in info.models if profile.model_id == wanted), None)


def is_reference(model: str) -> bool:
    """Whether a model's name is a path or Hub id, which only the worker can look up."""
    return "/" in model or "\\" in model or model.endswith(".safetensors")


def require_model(info: RuntimeInfo | None, model: str) -> None:
    """Refuses a plain name that no model has, and paths to whoever may not name them. Without `info` the worker is the
    judge. Errors: ModelNotFound, NotAllowed."""
    if is_reference(model) and not current_caller().may(ADMIN):
        if info is None or profile_of(info, model) is None:
            raise NotAllowed(
                f"The token {current_caller().name!r} may use installed models alone, not paths and Hub ids; leave the "
                "model empty, or ask whoever runs the server to load this one.",
                scope=ADMIN,
            )
        return
    if info is None or not model or is_reference(model) or profile_of(info, model) is not None:
        return
    raise ModelNotFound(shown(model)[1:-1], tuple(profile.model_id for profile in info.models))


def require_names(info: RuntimeInfo | None, request: Request, field: str) -> None:
    """Refuses models, schedulers and tasks that are not there, before anything is queued.

    `field`: path of the generation. Errors: ModelNotFound, InvalidRequest.
    """
    parameters = request.parameters
    require_model(info, parameters.model)
    profile = profile_of(info, parameters.model) if info is not None else None
    if parameters.scheduler:
        names = tuple(SCHEDULERS) if profile is None else profile.schedulers
        scheduler_choice(parameters.scheduler, names, f"{field}.parameters.scheduler")
    if profile is not None:
        task = task_name(request)
        require_task(profile, task, f"{field}.{task}")


async def wait_for_info(engine: Engine, seconds: float = WAIT_SECONDS) -> RuntimeInfo:
    """What the worker tells once it is there.

    Errors: Unavailable when that takes longer; what the worker says when it cannot start (such as ModelLoadFailed).
    """
    if engine.status.info is None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(engine.wait_ready(), seconds)
    status = engine.status
    if status.info is None:
        raise Unavailable(
            f"The worker is still starting ({status.message or status.state}). Try again in a moment."
        )
    return status.info


async def profile_for(engine: Engine, model: str, seconds: float = WAIT_SECONDS) -> ModelProfile:
    """The profile of a model; one that is only a path or Hub id so far is loaded for it.

    Errors: Unavailable, ModelNotFound, ModelLoadFailed, OutOfMemory.
    """
    info = await wait_for_info(engine, seconds)
    require_model(info, model)
    profile = profile_of(info, model)
    if profile is None:
        await engine.load(model)
        info = await wait_for_info(engine, seconds)
        profile = profile_of(info, model)
    if profile is None:
        raise ModelNotFound(shown(model)[1:-1], tuple(known.model_id for known in info.models))
    return profile
