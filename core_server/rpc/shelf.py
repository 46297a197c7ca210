"""Models on this disk as they are now: people put files there by hand while the server runs, and the worker has told
what there was before."""

from __future__ import annotations

import asyncio

from core_server.errors import ModelNotFound
from core_server.jobs.engine import Engine
from core_server.pipelines.catalogue import Catalogue
from core_server.pipelines.task import ModelProfile
from core_server.rpc.known import is_reference, profile_of


class ModelShelf:
    """The models folder, looked at by the gateway itself."""

    def __init__(self, catalogue: Catalogue, engine: Engine) -> None:
        self.catalogue = catalogue
        self._engine = engine

    async def meet(self, model: str) -> None:
        """Before a name is judged: the engine hears of a model that came since it told.

        Errors: ModelLoadFailed with the reason for what lies there and cannot be used.
        """
        info = self._engine.status.info
        if info is None or not model or is_reference(model) or profile_of(info, model) is not None:
            return
        try:
            profile = await asyncio.to_thread(self.catalogue.profile, model)
        except ModelNotFound:
            return  # whoever judges names says which there are
        self._add(profile)

    async def look(self) -> dict[str, str]:
        """The engine hears of every model that came. Returns why others cannot be used, by name."""
        profiles, unusable = await asyncio.to_thread(self.catalogue.look)
        for profile in profiles:
            self._add(profile)
        return unusable

    def changed(self) -> None:
        """Something was installed or removed. The worker looks again after its next job; until then this tells."""
        info = self._engine.status.info
        if info is None:
            return
        there = {profile.model_id: profile for profile in self.catalogue.profiles()}
        loaded = {profile.model_id: profile for profile in info.models if profile.model_id in there}
        elsewhere = [it for it in info.models if "/" in it.model_id and it.model_id not in there]
        self._engine.set_models([*(there | loaded).values(), *elsewhere])

    def _add(self, profile: ModelProfile) -> None:
        info = self._engine.status.info
        if info is not None and profile_of(info, profile.model_id) is None:
            self._engine.set_models([*info.models, profile])
