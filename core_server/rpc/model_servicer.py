"""ModelService: what can be painted with."""

from __future__ import annotations

from collections.abc import AsyncIterator

from core_server.errors import NotImplementedHere
from core_server.jobs.engine import Engine
from core_server.pipelines.schedulers import SCHEDULERS
from core_server.rpc.calls import Context, patience
from core_server.rpc.convert import fields
from core_server.rpc.convert.model import to_proto_model
from core_server.rpc.known import WAIT_SECONDS, profile_for, require_model, wait_for_info
from scumble.v1 import model_service_pb2 as messages
from scumble.v1.model_service_pb2_grpc import ModelServiceServicer


class ModelServicer(ModelServiceServicer):
    """What each call means is said in model_service.proto; errors get their status in `rpc.calls`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def ListModels(
        self, request: messages.ListModelsRequest, context: Context
    ) -> messages.ListModelsResponse:
        info = await wait_for_info(self._engine, patience(context, WAIT_SECONDS))
        profiles = sorted(info.models, key=lambda it: it.model_id)
        return messages.ListModelsResponse(
            models=[to_proto_model(it, self._engine.status) for it in profiles]
        )

    async def InstallModel(
        self, request: messages.InstallModelRequest, context: Context
    ) -> AsyncIterator[messages.InstallModelResponse]:
        raise NotImplementedHere(
            "This version of the server cannot install models; give the model's folder or .safetensors file as the "
            "model's name instead."
        )
        yield  # makes this a stream

    async def LoadModel(
        self, request: messages.LoadModelRequest, context: Context
    ) -> messages.LoadModelResponse:
        model = _model(request.model_id, "model_id")
        seconds = patience(context, WAIT_SECONDS)
        require_model(await wait_for_info(self._engine, seconds), model)
        await self._engine.load(model)
        profile = await profile_for(self._engine, model, seconds)
        message = to_proto_model(profile, self._engine.status)
        message.state = messages.MODEL_STATE_LOADED
        return messages.LoadModelResponse(model=message)

    async def UnloadModel(
        self, request: messages.UnloadModelRequest, context: Context
    ) -> messages.UnloadModelResponse:
        raise NotImplementedHere(
            "This version of the server cannot unload a model; models make room for each other by themselves."
        )

    async def RemoveModel(
        self, request: messages.RemoveModelRequest, context: Context
    ) -> messages.RemoveModelResponse:
        raise NotImplementedHere(
            "This version of the server cannot remove models; delete the model's files yourself."
        )

    async def ListSchedulers(
        self, request: messages.ListSchedulersRequest, context: Context
    ) -> messages.ListSchedulersResponse:
        model = _model(request.model, "model")
        profile = await profile_for(self._engine, model, patience(context, WAIT_SECONDS))
        return messages.ListSchedulersResponse(
            schedulers=[
                messages.Scheduler(
                    name=name,
                    title=SCHEDULERS[name].title if name in SCHEDULERS else name,
                    is_default=name == profile.scheduler,
                )
                for name in profile.schedulers
            ]
        )

    async def ListAdapters(
        self, request: messages.ListAdaptersRequest, context: Context
    ) -> messages.ListAdaptersResponse:
        raise NotImplementedHere("This version of the server cannot use LoRA or textual inversion.")


def _model(value: str, field: str) -> str:
    return fields.text(value, field, "The model's name", fields.MAX_NAME_CHARS)
