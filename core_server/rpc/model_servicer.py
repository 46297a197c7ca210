"""ModelService: what can be painted with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from core_server.config import ServerConfig
from core_server.jobs.engine import Engine
from core_server.pipelines.adapter_files import AdapterShelf
from core_server.pipelines.families.registry import FAMILIES
from core_server.pipelines.schedulers import SCHEDULERS
from core_server.pipelines.sources.install import Installer
from core_server.pipelines.sources.recommended import best_for, recommended
from core_server.pipelines.words.styles import Styles
from core_server.rpc.calls import Context, patience
from core_server.rpc.convert import fields
from core_server.rpc.convert.install import to_proto_adapter, to_proto_recommended, to_proto_style
from core_server.rpc.convert.model import to_proto_model
from core_server.rpc.known import WAIT_SECONDS, profile_for, require_model, wait_for_info
from core_server.rpc.model_installs import ModelInstalls
from core_server.rpc.shelf import ModelShelf
from scumble.v1 import model_service_pb2 as messages
from scumble.v1.model_service_pb2_grpc import ModelServiceServicer

MAX_SOURCE_CHARS = 4096


class ModelServicer(ModelServiceServicer):
    """What each call means is said in model_service.proto; errors get their status in `rpc.calls`."""

    def __init__(
        self,
        engine: Engine,
        config: ServerConfig,
        shelf: ModelShelf,
        installer: Installer | None = None,
    ) -> None:
        self._engine = engine
        self._shelf = shelf
        self._adapters = AdapterShelf(config.data_dir)
        self._styles = Styles(config.data_dir)
        self._installs = ModelInstalls(shelf, engine, installer or Installer(config.data_dir))

    async def ListModels(
        self, request: messages.ListModelsRequest, context: Context
    ) -> messages.ListModelsResponse:
        await wait_for_info(self._engine, patience(context, WAIT_SECONDS))
        unusable = await self._shelf.look()
        info = await wait_for_info(self._engine)
        profiles = sorted(info.models, key=lambda it: it.model_id)
        models = [to_proto_model(it, self._engine.status) for it in profiles]
        if request.include_available:
            there = {it.model_id for it in profiles}
            fitting = best_for(info.memory_bytes)
            models += [
                to_proto_recommended(it, fitting) for it in recommended() if it.id not in there
            ]
        return messages.ListModelsResponse(
            models=models,
            unusable=[
                messages.UnusableModel(model_id=name, reason=reason)
                for name, reason in unusable.items()
            ],
        )

    async def InstallModel(
        self, request: messages.InstallModelRequest, context: Context
    ) -> AsyncIterator[messages.InstallModelResponse]:
        fields.text(request.source, "source", "The source", MAX_SOURCE_CHARS, needed=True)
        fields.text(request.name, "name", "The name", fields.MAX_NAME_CHARS)
        async for message in self._installs.install(request):
            yield message

    async def LoadModel(
        self, request: messages.LoadModelRequest, context: Context
    ) -> messages.LoadModelResponse:
        model = _model(request.model_id, "model_id")
        seconds = patience(context, WAIT_SECONDS)
        await wait_for_info(self._engine, seconds)
        await self._shelf.meet(model)
        require_model(await wait_for_info(self._engine, seconds), model)
        await self._engine.load(model)
        profile = await profile_for(self._engine, model, seconds)
        return messages.LoadModelResponse(model=to_proto_model(profile, self._engine.status))

    async def UnloadModel(
        self, request: messages.UnloadModelRequest, context: Context
    ) -> messages.UnloadModelResponse:
        model = _model(request.model_id, "model_id")
        await self._shelf.meet(model)
        profile = await profile_for(self._engine, model, patience(context, WAIT_SECONDS))
        await self._engine.unload(model)
        return messages.UnloadModelResponse(model=to_proto_model(profile, self._engine.status))

    async def RemoveModel(
        self, request: messages.RemoveModelRequest, context: Context
    ) -> messages.RemoveModelResponse:
        freed = await self._installs.remove(_model(request.model_id, "model_id"))
        return messages.RemoveModelResponse(freed_bytes=freed)

    async def ListSchedulers(
        self, request: messages.ListSchedulersRequest, context: Context
    ) -> messages.ListSchedulersResponse:
        model = _model(request.model, "model")
        await self._shelf.meet(model)
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
        adapters = await asyncio.to_thread(self._adapters.all)
        if request.model:
            model = _model(request.model, "model")
            await self._shelf.meet(model)
            profile = await profile_for(self._engine, model, patience(context, WAIT_SECONDS))
            fitting = FAMILIES[profile.family].adapters if profile.family in FAMILIES else ""
            adapters = tuple(it for it in adapters if it.family in ("", fitting))
        return messages.ListAdaptersResponse(adapters=[to_proto_adapter(it) for it in adapters])

    async def ListStyles(
        self, request: messages.ListStylesRequest, context: Context
    ) -> messages.ListStylesResponse:
        styles = await asyncio.to_thread(self._styles.all)
        return messages.ListStylesResponse(styles=[to_proto_style(it) for it in styles.values()])


def _model(value: str, field: str) -> str:
    return fields.text(value, field, "The model's name", fields.MAX_NAME_CHARS)
