"""The runtime of one device: keeps a few models loaded and does one request at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import diffusers
import torch
import transformers

from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import Pixels
from core_server.config import Tiers
from core_server.errors import ImageNotFound, ModelNotFound, OutOfMemory, on_one_line
from core_server.pipelines import devices
from core_server.pipelines.catalogue import Catalogue
from core_server.pipelines.faults import faults_told, still_computes
from core_server.pipelines.few_step import with_few_steps
from core_server.pipelines.hashes import HASHES, KeptHashes
from core_server.pipelines.keeper import Budget, ModelKeeper
from core_server.pipelines.live import LivePainter
from core_server.pipelines.live_frame import LiveFrame, LivePicture, LiveStarted
from core_server.pipelines.map_maker import MapMaker
from core_server.pipelines.memory import Rung
from core_server.pipelines.model import LoadedModel
from core_server.pipelines.outfit import dressed
from core_server.pipelines.processor import suit_processor
from core_server.pipelines.request import (
    DenoiserPrecision,
    Parameters,
    Request,
    StructureStart,
    TextToImage,
    image_ids,
)
from core_server.pipelines.settings import settle
from core_server.pipelines.task import (
    CacheFigures,
    ModelProfile,
    RuntimeInfo,
    StepCallback,
    StepProgress,
    TaskOutput,
    Wish,
)
from core_server.pipelines.tasks import do_task
from core_server.pipelines.tiers.graphs import WARM_CALLS
from core_server.pipelines.tiers.row_trials import precisions_of
from core_server.pipelines.tiers.workshop import Workshop, make_workshop
from core_server.pipelines.together import Together, paints_together
from core_server.pipelines.words.styles import Styles

Result = TypeVar("Result")

log = logging.getLogger(__name__)


class LocalRuntime:
    """Implements `task.Runtime` with diffusers. All calls come from one thread."""

    def __init__(
        self,
        model: str,
        device: str,
        data_dir: Path,
        catalogue: Catalogue | None = None,
        budget: Budget = devices.memory_of,
        *,
        tiers: Tiers | None = None,
        workshop: Workshop | None = None,
        rungs: tuple[Rung, ...] | None = None,
    ) -> None:
        """workshop: what paints fast; None: made of `tiers` and of what the device can do. budget, rungs: as in
        `ModelKeeper`."""
        for library in (diffusers, transformers):
            library.utils.logging.set_verbosity_error()
            library.utils.logging.disable_progress_bar()
        self._catalogue = catalogue or Catalogue(model, data_dir)
        self._catalogue.find("")
        self._data_dir = data_dir
        self._styles = Styles(data_dir)
        self._device = devices.choose_device(device)
        self._map_maker = MapMaker(self._catalogue.maps_folder, self._device)
        self._keeper = ModelKeeper(
            self._device, budget, rungs, KeptHashes(data_dir / HASHES).sha256_of
        )
        self._live = LivePainter(self._styles, data_dir)
        if workshop is None:
            half = torch.float32 if self._device.type == "cpu" else torch.float16
            workshop = make_workshop(self._device, half, tiers or Tiers(), data_dir / "compiled")
        self._workshop = workshop

    def load(self, model: str) -> ModelProfile:
        """Loads a model ("" = default) if it is not loaded yet, and readies the device for its first picture.

        Errors: ModelNotFound, ModelLoadFailed, OutOfMemory, DeviceFault.
        """
        with faults_told(self._device):
            try:
                known = self._catalogue.find(model).model_id in self._keeper.loaded
                if not known:
                    self._live.forget()  # it may have to make room
                loaded = self._model(model)
                if not known:
                    self._warm_up(loaded)
                return loaded.profile
            except Exception as error:
                if not devices.is_out_of_memory(error):
                    raise
                raise self._out_of_memory() from error

    def _warm_up(self, model: LoadedModel) -> None:
        """Paints once what nobody sees, where fast tiers have to be made first.

        Libraries choose their kernels, ours are compiled, the denoiser's graph is recorded: whoever loads a model ahead
        does not wait for that with a picture.
        """
        profile, workshop = model.profile, self._workshop
        is_fast = workshop.backend is not None or workshop.operations is not None
        if not is_fast or "text_to_image" not in profile.tasks:
            return
        if model.rung is not None and model.rung > Rung.VAE_TILED:
            return  # slow anyway, and moving weights about warms nothing
        parameters = Parameters(
            prompt="warming up", model=profile.model_id, num_inference_steps=WARM_CALLS + 2,
            structure=StructureStart.NOISE,
        )  # fmt: skip
        try:
            request = TextToImage(parameters=parameters, extent=model.usual_extent)
            self._attempt(profile.model_id, request, {}, lambda _step: None)
            self._live.warm_up(model, request.extent)
        except Exception as error:
            if not still_computes(self._device):
                raise
            # The first picture finds it out as well, and can do something about it.
            log.warning("Not warmed up: %s", on_one_line(error))
        devices.give_back(self._device)

    def unload(self, model: str) -> None:
        """Gives a model's memory back. One that is not loaded is no error."""
        self._live.forget()
        self._keeper.unload(model or self._catalogue.configured)

    def rest(self) -> None:
        """Gives all memory back after a while without work; models are read again when they are needed."""
        self._live.forget()
        self._keeper.unload_all()

    def info(self) -> RuntimeInfo:
        """What there is now."""
        listed = {profile.model_id: profile for profile in self._catalogue.profiles()}
        loaded = self._keeper.loaded
        listed |= {name: model.profile for name, model in loaded.items()}
        memory = devices.memory_of(self._device)
        return RuntimeInfo(
            device=devices.title_of(self._device),
            memory_bytes=memory.total,
            free_bytes=memory.free,
            default_model=self._catalogue.configured,
            models=tuple(listed.values()),
            caches=self._caches(),
            loaded=tuple(loaded),
            together=tuple(name for name, model in loaded.items() if paints_together(model)),
            denoiser_precisions=tuple(map(DenoiserPrecision, precisions_of(self._device))),
        )

    def _loaded(self) -> list[LoadedModel]:
        """Those with few-step weights included."""
        models = list(self._keeper.loaded.values())
        return models + [it.few_step_model for it in models if it.few_step_model is not None]

    def _caches(self) -> tuple[CacheFigures, ...]:
        """Of all loaded models together."""
        loaded, live = self._loaded(), self._live
        racks = [it.rack for it in loaded if it.rack is not None]
        return (
            _figures(
                "prompts", [(it.prompts.hits, it.prompts.misses, it.prompts.size) for it in loaded]
            ),
            _figures(
                "pictures", [(it.encoded.hits, it.encoded.misses, it.encoded.size) for it in loaded]
            ),
            _figures("adapters", [(it.hits, it.misses, 0) for it in racks]),
            _figures("live", [(*live.figures, 0)]),
        )

    def run(
        self, request: Request, images: Mapping[str, Pixels], on_step: StepCallback
    ) -> Sequence[TaskOutput]:
        """Does one request. Errors: InvalidRequest, ModelNotFound, TaskFailed and what `on_step` raises."""
        for image_id in image_ids(request):
            if image_id not in images:
                raise ImageNotFound(image_id)
        with faults_told(self._device):
            try:
                return self._within_memory(
                    request.parameters.model,
                    on_step,
                    lambda name: self._attempt(name, request, images, on_step),
                )
            finally:
                devices.tidy(self._device)

    def run_together(
        self, wishes: Sequence[Wish], pictures: int
    ) -> Sequence[Sequence[TaskOutput] | Exception]:
        """Does alike requests, several pictures at once where that can be. Errors: DeviceFault."""
        together = Together(
            wishes,
            pictures,
            styles=self._styles,
            data_dir=self._data_dir,
            alone=lambda wish: self.run(wish.request, {}, wish.on_step),
            learn=self._keeper.learn,
        )
        with faults_told(self._device):
            try:
                name = self._catalogue.find(wishes[0].request.parameters.model).model_id
                return together.outcomes(self._model(name) if name in self._keeper.loaded else None)
            except ModelNotFound as error:
                return [error] * len(wishes)
            finally:
                devices.tidy(self._device)

    def paint(self, frame: LiveFrame, canvas: Pixels, on_step: StepCallback) -> LivePicture:
        """Paints one frame of a live session. Errors: as `run`."""
        return self.begin_paint(frame, canvas, on_step).finish()

    def begin_paint(self, frame: LiveFrame, canvas: Pixels, on_step: StepCallback) -> LiveStarted:
        """See `Runtime.begin_paint`."""
        with faults_told(self._device):
            # A stroke like the last one needs no catalogue.
            again = self._live.again(frame, canvas, on_step, self._keeper.used)
            started = again or self._within_memory(
                frame.parameters.model,
                on_step,
                lambda name: self._live.begin(self._model(name), frame, canvas, on_step),
            )

        def finish() -> LivePicture:
            with faults_told(self._device):
                return started.finish()

        return LiveStarted(finish, started.on_device)

    def _within_memory(
        self, model: str, on_step: StepCallback, attempt: Callable[[str], Result]
    ) -> Result:
        """`attempt` with the model's id, again with less memory as often as it runs out and something can be done."""
        name = self._catalogue.find(model).model_id
        if name not in self._keeper.loaded:
            self._live.forget()  # it may have to make room
            on_step(StepProgress(0, 0, "Loading model"))
        while True:
            try:
                return attempt(name)
            except Exception as error:
                if not devices.is_out_of_memory(error):
                    raise
            # Out of the handler: the exception, and with it every tensor of the task, is forgotten.
            told = self._step_down(name)
            on_step(StepProgress(0, 0, f"Out of memory; trying again: {told}"))

    def _attempt(
        self,
        name: str,
        request: Request,
        images: Mapping[str, Pixels],
        on_step: StepCallback,
    ) -> Sequence[TaskOutput]:
        loaded = self._model(name)
        devices.forget_peak(self._device)
        model = with_few_steps(loaded, request.parameters)
        settings = settle(request, model.profile, self._styles)
        with dressed(model, request, settings, images, self._data_dir) as settings:
            outputs = do_task(model, request, settings, images, on_step)
        painted = outputs[0].recipe.get("model_extent") if outputs else None
        if painted:
            self._keeper.learn(loaded, Extent(*painted))
        return outputs

    def _step_down(self, name: str) -> str:
        """What changed, and what that costs. Errors: OutOfMemory when nothing is left to try."""
        self._live.forget()
        for loaded in self._loaded():
            loaded.prompts.clear()
            loaded.encoded.clear()
        try:
            relief = self._keeper.step_down(name) if name in self._keeper.loaded else None
        except Exception as error:
            if not devices.is_out_of_memory(error):
                raise
            raise self._out_of_memory() from error
        if relief is None:
            raise self._out_of_memory()
        return relief.told

    def _model(self, name: str) -> LoadedModel:
        files = self._catalogue.find(name)
        model = self._keeper.get(files)
        model.folder, model.map_maker = files.path, self._map_maker
        model.workshop = self._workshop
        suit_processor(model)
        return model

    def _out_of_memory(self) -> OutOfMemory:
        devices.give_back(self._device)
        return OutOfMemory(
            f"{devices.title_of(self._device)} ran out of memory; make the picture or the selection smaller, close "
            "other programs that use it, or choose a smaller model.",
            device=str(self._device),
        )


def _figures(name: str, counts: Sequence[tuple[int, int, int]]) -> CacheFigures:
    """counts: hits, misses and bytes of each cache of the kind."""
    hits, misses, size = (sum(column) for column in zip((0, 0, 0), *counts, strict=True))
    return CacheFigures(name=name, hits=hits, misses=misses, bytes=size)
