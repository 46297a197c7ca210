"""The models in memory: which are loaded, where on the memory ladder each stands, what goes when memory runs out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from core_server.canvas.geometry import Extent
from core_server.pipelines import devices
from core_server.pipelines.catalogue import ModelFiles
from core_server.pipelines.control_networks import give_up_networks
from core_server.pipelines.hashes import sha256_of
from core_server.pipelines.loader import load_model
from core_server.pipelines.memory import (
    Activations,
    Rung,
    Sizes,
    choose_rung,
    kept,
    next_rung,
    peak,
    rungs_of,
)
from core_server.pipelines.model import LoadedModel
from core_server.pipelines.placement import bytes_on, measure, must_reload, place
from core_server.pipelines.tiers.model_tiers import GRAPH

MAX_LOADED_MODELS = 3
"""However much memory there is."""
SINGLE_PRECISION = 2.0
"""What a picture takes in float32, relative to half precision."""

FAST_PATHS_GIVEN_UP = "what was kept to paint faster gave its memory back; it is made anew"
FEWER_LAYERS = "fewer of the denoiser's layers stay on the device; each step takes longer"
OTHERS_GIVEN_UP = "the other models left the device; they are read again when they are needed"

Budget = Callable[[torch.device], devices.Memory]


class Relief(NamedTuple):
    """What was done after memory ran out. told: for people, what changed and what that costs."""

    model: LoadedModel
    told: str


class ModelKeeper:
    """Keeps the models used last loaded, as many as the device has memory for. One thread calls it.

    budget: what the device has; another function stands for a smaller device. rungs: those that help on it; None: as
    its kind has them. A CPU with a budget of its own is planned for as a device is. sha256: what reads or knows a
    file's hash.
    """

    def __init__(
        self,
        device: torch.device,
        budget: Budget = devices.memory_of,
        rungs: tuple[Rung, ...] | None = None,
        sha256: Callable[[Path], str] = sha256_of,
    ) -> None:
        self._device = device
        self._sha256 = sha256
        self._budget = budget
        self._rungs = rungs or rungs_of(device.type)
        self._loaded: OrderedDict[str, LoadedModel] = OrderedDict()
        self._sizes: dict[str, Sizes] = {}
        self._lowest: dict[str, Rung] = {}
        self._activations: dict[str, Activations] = {}

    @property
    def loaded(self) -> dict[str, LoadedModel]:
        """By model id, the one used last at the end."""
        return dict(self._loaded)

    def get(self, files: ModelFiles) -> LoadedModel:
        """The model, read and placed if it was not loaded. Errors: ModelLoadFailed, torch.OutOfMemoryError."""
        model = self._loaded.get(files.model_id)
        if model is None:
            model = self._load(files)
        self._loaded.move_to_end(files.model_id)
        return model

    def used(self, model: LoadedModel) -> bool:
        """Whether it is loaded; it is the one used last then."""
        for name, loaded in self._loaded.items():
            if loaded is model:
                self._loaded.move_to_end(name)
                return True
        return False

    def unload(self, model_id: str) -> None:
        """Gives a model's memory back, and plans anew when it is needed again. One that is not loaded is no error."""
        self._lowest.pop(model_id, None)
        self._drop(model_id)

    def unload_all(self) -> None:
        """Gives all memory back, so that models may stand higher next time; what pictures really took stays known."""
        self._loaded.clear()
        self._lowest.clear()
        give_up_networks(needed_too=True)
        devices.give_back(self._device)

    def step_down(self, model_id: str) -> Relief | None:
        """After memory ran out: the model on the next rung, others given up first; None if there is no other way."""
        model = self._loaded[model_id]
        model.few_step_model = model.reference_kit = None
        released = [it.tiers.release() for it in self._loaded.values()]
        if any(released) or give_up_networks(needed_too=False):
            devices.give_back(self._device)
            return Relief(model, FAST_PATHS_GIVEN_UP)
        give_up_networks(needed_too=True)
        others = self._give_up_others(model_id)
        devices.give_back(self._device)
        if others:
            return Relief(model, OTHERS_GIVEN_UP)
        rung, stayed = _rung(model), model.kept
        del model  # or two copies of it would be in the machine's memory
        if stayed:
            half = stayed // 2 if stayed > self._sizes[model_id].denoiser // 4 else 0
            fewer = self._settle(model_id, rung, half)
            if fewer is None or fewer.rung is rung:
                return None if fewer is None else Relief(fewer, FEWER_LAYERS)
            return Relief(fewer, _rung(fewer).told)
        lower = self._settle(model_id, next_rung(self._rungs, rung))
        return None if lower is None else Relief(lower, _rung(lower).told)

    def learn(self, model: LoadedModel, extent: Extent) -> None:
        """Corrects the estimate by what the picture just painted really took at most."""
        sizes = self._sizes.get(model.profile.model_id)
        if sizes is None or _rung(model) > Rung.VAE_TILED:
            return
        if model.tiers.launched == GRAPH:  # its memory was taken when it was recorded
            return
        most = devices.peak_bytes(self._device)
        if not most:
            return
        held = sum(self._sizes[name].all for name in self._loaded if name in self._sizes)
        held += sum(it.tiers.precisions.size for it in self._loaded.values())
        if model.rung is Rung.RESIDENT:
            estimate = peak(Rung.RESIDENT, sizes, model.activations, extent) - sizes.all
            if estimate > 0 and most > held:
                self._correct(model, model.activations.scaled((most - held) / estimate))
            return
        took = most - held + sum(sizes.text_encoders)
        # Whether a step took most, a tile or the prompt: a step took no more. Where others stand is not looked at.
        if took > 0 and len(self._loaded) == 1:
            denoise = min(model.activations.denoise, took / extent.area)
            self._correct(model, replace(model.activations, denoise=denoise))

    def _correct(self, model: LoadedModel, activations: Activations) -> None:
        model.activations = activations
        self._activations[model.profile.model_id] = activations

    def _load(self, files: ModelFiles) -> LoadedModel:
        while len(self._loaded) >= MAX_LOADED_MODELS:
            self._evict()
        model = load_model(files, self._device, place_it=False, sha256=self._sha256)
        self._sizes[files.model_id] = measure(model)
        factor = _width(model) * (SINGLE_PRECISION if model.dtype is torch.float32 else 1.0)
        model.activations = self._activations.get(files.model_id, Activations().scaled(factor))
        usual = model.usual_extent
        while self._loaded and self._rung_for(model, usual) > Rung.RESIDENT:
            self._evict()
        rung = self._rung_for(model, usual)
        model.folder = files.path
        self._loaded[files.model_id] = model
        del model
        settled = self._settle(files.model_id, rung)
        if settled is None:
            self._drop(files.model_id)
            raise torch.OutOfMemoryError(f"there is no room for {files.model_id} on any rung")
        return settled

    def _rung_for(self, model: LoadedModel, extent: Extent) -> Rung:
        # A CPU has a swap file, and says what is free only by guess.
        if self._device.type == "cpu" and self._budget is devices.memory_of:
            return self._lowest.get(model.profile.model_id, Rung.RESIDENT)
        model_id = model.profile.model_id
        found = (self._sizes[model_id], model.activations, extent, self._free())
        chosen = choose_rung(self._rungs, *found, steps=model.profile.num_inference_steps)
        return max(chosen, self._lowest.get(model_id, Rung.RESIDENT))

    def _free(self) -> int:
        return self._budget(self._device).free - sum(it.tiers.size for it in self._loaded.values())

    def _kept_on(self, rung: Rung, model: LoadedModel) -> int:
        """Bytes of the denoiser's layers that may stay."""
        sizes = self._sizes[model.profile.model_id]
        free = self._free() + bytes_on(model)
        room = kept(rung, sizes, model.activations, model.usual_extent, free)
        # Memory ran out where it stood: what is free was misjudged.
        return room if model.rung is None else min(room, sizes.denoiser // 2)

    def _settle(
        self, model_id: str, rung: Rung | None, most: int | None = None
    ) -> LoadedModel | None:
        """The model on that rung, or on the first one below where its parts find room; None if there is none.

        most: bytes of layers that may stay on the device; None: as planned.
        """
        while rung is not None:
            planned = self._kept_on(rung, self._loaded[model_id])
            stay = planned if most is None else min(planned, most)
            try:
                return self._move(model_id, rung, stay)
            except Exception as error:
                if model_id not in self._loaded or not devices.is_out_of_memory(error):
                    self._drop(model_id)  # nobody knows where its parts are
                    raise
            # Out of the handler: nothing of the attempt is held any more.
            others = self._give_up_others(model_id)
            devices.give_back(self._device)
            if not others:
                rung, most = (rung, 0) if stay else (next_rung(self._rungs, rung), None)
        return None

    def _move(self, model_id: str, rung: Rung, stay: int) -> LoadedModel:
        model = self._loaded[model_id]
        if model.rung is not None:
            self._lowest[model_id] = rung
        if must_reload(model.rung, rung):
            known = model.activations, model.folder, model.map_maker
            self._drop(model_id)
            del model
            files = ModelFiles(model_id, known[1])
            model = load_model(files, self._device, place_it=False, sha256=self._sha256)
            model.activations, model.folder, model.map_maker = known
            self._loaded[model_id] = model
        place(model, rung, stay)
        return model

    def _drop(self, model_id: str) -> None:
        if self._loaded.pop(model_id, None) is not None:
            give_up_networks(needed_too=True)
            devices.give_back(self._device)

    def _give_up_others(self, model_id: str) -> bool:
        """Whether there were any."""
        others = [name for name in self._loaded if name != model_id]
        for name in others:
            del self._loaded[name]
        return bool(others)

    def _evict(self) -> None:
        self._loaded.popitem(last=False)
        devices.give_back(self._device)


def _rung(model: LoadedModel) -> Rung:
    assert model.rung is not None, "a settled model stands somewhere"
    return model.rung


def _width(model: LoadedModel) -> float:
    """Channels of the autoencoder at full resolution, relative to those that `Activations` were estimated for."""
    config = model.vae.config
    blocks = getattr(config, "decoder_block_out_channels", None) or getattr(
        config, "block_out_channels", None
    )
    return float(blocks[0] if blocks else getattr(config, "base_dim", 128)) / 128
