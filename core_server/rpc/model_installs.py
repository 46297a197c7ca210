"""Installing and removing for ModelService: the installer runs in a thread, its progress becomes a stream."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator

from core_server.errors import FailedPrecondition, ModelLoadFailed, ModelNotFound, TaskCancelled
from core_server.jobs.engine import Engine
from core_server.pipelines.sources.install import Installer
from core_server.pipelines.sources.offer import Installed, Offer, Progress, Shelf
from core_server.pipelines.task import ModelProfile
from core_server.rpc.convert.install import to_proto_installed, to_proto_offer
from core_server.rpc.convert.model import to_proto_model
from core_server.rpc.shelf import ModelShelf
from scumble.v1 import model_service_pb2 as messages

PROGRESS_SECONDS = 0.2
"""Between two messages, at least."""


class ModelInstalls:
    """What an artist does to the shelves of the data folder."""

    def __init__(self, shelf: ModelShelf, engine: Engine, installer: Installer) -> None:
        self._shelf = shelf
        self._engine = engine
        self._installer = installer

    async def install(
        self, request: messages.InstallModelRequest
    ) -> AsyncIterator[messages.InstallModelResponse]:
        """See `ModelService.InstallModel`. Leaving the stream stops the download; what is here already is kept."""
        offer = await asyncio.to_thread(self._installer.offer, request.source, request.name)
        if request.plan_only:
            yield to_proto_offer(offer)
            return
        if offer.licence.needs_consent and not request.accept_license:
            raise FailedPrecondition(
                f"The licence of {offer.title} is {offer.licence.sentence}; read it"
                f"{f' at {offer.url}' if offer.url else ''} and accept it (accept_license, or --yes)."
            )
        async for message in self._run(offer):
            yield message

    async def remove(self, model_id: str) -> int:
        """Bytes given back. Errors: FailedPrecondition for what ships with Scumble, SourceNotFound."""
        if model_id in ("", "default", "tiny"):
            raise FailedPrecondition(
                "The models default and tiny are part of Scumble and stay; name one that was installed."
            )
        if model_id == self._shelf.catalogue.configured:
            raise FailedPrecondition(
                f"This server was started with {model_id!r} as its model; start it with another one first."
            )
        if self._installer.where(model_id) is Shelf.MODELS:
            await self._engine.unload(model_id)
        freed = await asyncio.to_thread(self._installer.remove, model_id)
        self._shelf.changed()
        return freed

    async def _run(self, offer: Offer) -> AsyncIterator[messages.InstallModelResponse]:
        latest: list[Progress] = []
        stop = threading.Event()

        def on_progress(progress: Progress) -> None:
            if stop.is_set():
                raise TaskCancelled
            latest[:] = [progress]

        work = asyncio.create_task(
            asyncio.to_thread(self._installer.install, offer, on_progress), name="install"
        )
        try:
            while not work.done():
                await asyncio.wait({work}, timeout=PROGRESS_SECONDS)
                if latest:
                    progress = latest.pop()
                    yield messages.InstallModelResponse(
                        done_bytes=progress.done_bytes,
                        total_bytes=progress.total_bytes,
                        stage=progress.stage,
                    )
            installed = work.result()
        finally:
            stop.set()
            if not work.done():
                work.add_done_callback(lambda task: task.cancelled() or task.exception())
        self._shelf.changed()
        model = self._profile(installed)
        yield messages.InstallModelResponse(
            done_bytes=offer.size_bytes,
            total_bytes=offer.size_bytes,
            stage=f"Installed in {installed.shelf}",
            model=to_proto_installed(installed, offer)
            if model is None
            else to_proto_model(model, self._engine.status),
        )

    def _profile(self, installed: Installed) -> ModelProfile | None:
        if installed.shelf is not Shelf.MODELS:
            return None
        with contextlib.suppress(ModelNotFound, ModelLoadFailed):
            return self._shelf.catalogue.profile(installed.path.name)
        return None
