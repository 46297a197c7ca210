"""The runtime of one device: keeps a few models loaded and does one request at a time."""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import diffusers
import psutil
import torch
import transformers

from core_server.canvas.pixels import Pixels
from core_server.errors import ImageNotFound, OutOfMemory
from core_server.pipelines.catalogue import Catalogue
from core_server.pipelines.few_step import with_few_steps
from core_server.pipelines.loader import choose_device, load_model
from core_server.pipelines.map_maker import MapMaker
from core_server.pipelines.model import LoadedModel
from core_server.pipelines.outfit import dressed
from core_server.pipelines.request import Request, image_ids
from core_server.pipelines.settings import settle
from core_server.pipelines.task import (
    ModelProfile,
    RuntimeInfo,
    StepCallback,
    StepProgress,
    TaskOutput,
)
from core_server.pipelines.tasks import do_task
from core_server.pipelines.words.styles import Styles

MAX_LOADED_MODELS = 2


class LocalRuntime:
    """Implements `task.Runtime` with diffusers. All calls come from one thread."""

    def __init__(
        self, model: str, device: str, data_dir: Path, catalogue: Catalogue | None = None
    ) -> None:
        for library in (diffusers, transformers):
            library.utils.logging.set_verbosity_error()
            library.utils.logging.disable_progress_bar()
        self._catalogue = catalogue or Catalogue(model, data_dir)
        self._catalogue.find("")
        self._data_dir = data_dir
        self._styles = Styles(data_dir)
        self._device = choose_device(device)
        self._map_maker = MapMaker(self._catalogue.maps_folder, self._device)
        self._loaded: OrderedDict[str, LoadedModel] = OrderedDict()

    def load(self, model: str) -> ModelProfile:
        """Loads a model ("" = default) if it is not loaded yet. Errors: ModelNotFound, ModelLoadFailed, OutOfMemory."""
        with self._memory_errors():
            return self._model(model).profile

    def unload(self, model: str) -> None:
        """Gives a model's memory back. One that is not loaded is no error."""
        if self._loaded.pop(model or self._catalogue.configured, None) is not None:
            self._free()

    def info(self) -> RuntimeInfo:
        """What there is now."""
        listed = {profile.model_id: profile for profile in self._catalogue.profiles()}
        listed |= {name: model.profile for name, model in self._loaded.items()}
        free, total = self._memory()
        return RuntimeInfo(
            device=self._device_title(),
            memory_bytes=total,
            free_bytes=free,
            default_model=self._catalogue.configured,
            models=tuple(listed.values()),
        )

    def run(
        self, request: Request, images: Mapping[str, Pixels], on_step: StepCallback
    ) -> Sequence[TaskOutput]:
        """Does one request. Errors: InvalidRequest, ModelNotFound, TaskFailed and what `on_step` raises."""
        for image_id in image_ids(request):
            if image_id not in images:
                raise ImageNotFound(image_id)
        with self._memory_errors():
            name = self._catalogue.find(request.parameters.model).model_id
            if name not in self._loaded:
                on_step(StepProgress(0, 0, "Loading model"))
            model = self._model(name)
            model = with_few_steps(model, request.parameters)
            settings = settle(request, model.profile, self._styles)
            with dressed(model, request, settings, images, self._data_dir) as settings:
                return do_task(model, request, settings, images, on_step)

    def _model(self, name: str) -> LoadedModel:
        files = self._catalogue.find(name)
        model = self._loaded.get(files.model_id)
        if model is None:
            while len(self._loaded) >= MAX_LOADED_MODELS:
                self._loaded.popitem(last=False)
                self._free()
            model = self._loaded[files.model_id] = load_model(files, self._device)
            model.folder, model.map_maker = files.path, self._map_maker
        self._loaded.move_to_end(files.model_id)
        return model

    @contextmanager
    def _memory_errors(self) -> Iterator[None]:
        try:
            yield
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise self._out_of_memory() from error
        except RuntimeError as error:
            # The CPU's allocator has no exception type of its own.
            if "can't allocate memory" not in str(error) and "out of memory" not in str(error):
                raise
            raise self._out_of_memory() from error

    def _out_of_memory(self) -> OutOfMemory:
        self._free()
        return OutOfMemory(
            f"{self._device_title()} ran out of memory; make the picture or the selection smaller, close other "
            "programs that use it, or choose a smaller model.",
            device=str(self._device),
        )

    def _free(self) -> None:
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _memory(self) -> tuple[int, int]:
        """Free and total bytes."""
        if self._device.type == "cuda":
            free, total = torch.cuda.mem_get_info(self._device)
            return int(free), int(total)
        memory = psutil.virtual_memory()
        return int(memory.available), int(memory.total)

    def _device_title(self) -> str:
        if self._device.type == "cuda":
            return f"{self._device} ({torch.cuda.get_device_name(self._device)})"
        return str(self._device)
