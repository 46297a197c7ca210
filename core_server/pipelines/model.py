"""A loaded model: its components on their device, and the parts of a task that all tasks share."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from core_server.canvas.geometry import Extent
from core_server.errors import InvalidRequest, TaskFailed
from core_server.pipelines.adapter_rack import AdapterRack
from core_server.pipelines.devices import cache_bytes
from core_server.pipelines.encoded import EncodedCache
from core_server.pipelines.families.family import Family, Route
from core_server.pipelines.families.registry import FAMILIES, pipeline_class
from core_server.pipelines.families.sizes import vae_scale_factor
from core_server.pipelines.families.stable_diffusion import INPAINT_CHANNELS
from core_server.pipelines.latents import Latents
from core_server.pipelines.map_maker import MapMaker
from core_server.pipelines.memory import Activations, Rung
from core_server.pipelines.preview import PreviewProjection
from core_server.pipelines.prompts import PromptCache
from core_server.pipelines.schedulers import Schedulers
from core_server.pipelines.task import ModelProfile
from core_server.pipelines.tiers.model_tiers import ModelTiers
from core_server.pipelines.tiers.workshop import Workshop

if TYPE_CHECKING:
    from core_server.pipelines.reference_kit import ReferenceKit

_MEGAPIXEL_SIDE = 1024
FloatArray = npt.NDArray[np.float32]


@dataclass(slots=True, eq=False)
class LoadedModel:
    """Components shared by all tasks; schedulers are made for each job. weights_hash: SHA-256, made while loading.
    notes: what every recipe must say of this model. options: what its pipelines' __init__ takes beside components.
    map_maker: the runtime's network for material maps. folder: where its files are. few_step: whether these are the
    few-step weights;
    few_step_model: the same model with them, once they were asked for."""

    profile: ModelProfile
    components: dict[str, Any]
    device: torch.device
    dtype: torch.dtype
    weights_hash: Future[str]
    notes: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    map_maker: MapMaker | None = None
    folder: Path | None = None
    few_step: bool = False
    few_step_model: LoadedModel | None = None
    autoencoder_dtype: torch.dtype | None = None
    """What the autoencoder computes in; None: as everything else."""
    rung: Rung | None = None
    """Where its parts are (`pipelines.placement`); None while they are being read."""
    kept: int = field(default=0, init=False)
    """Bytes of the denoiser's layers that stay on the device while the others come and go."""
    placed: ExitStack = field(default_factory=ExitStack, init=False)
    """Undoes what `placement.place` did."""
    activations: Activations = field(default_factory=Activations)
    """What a picture takes beside the weights, as far as it was measured."""
    rack: AdapterRack | None = None
    """The LoRAs that were used on it."""
    reference_kit: ReferenceKit | None = None
    """The IP-Adapter that was used on it last."""
    workshop: Workshop = field(default_factory=Workshop)
    """What paints fast, if anything does."""
    prompts: PromptCache = field(init=False)
    """Its prompts that were encoded lately."""
    encoded: EncodedCache = field(init=False)
    """Pictures that its networks encoded lately."""
    _tiers: ModelTiers | None = field(default=None, init=False)
    _pipelines: dict[str, Any] = field(default_factory=dict)
    _schedulers: Schedulers | None = None
    _preview: PreviewProjection | None = None

    def __post_init__(self) -> None:
        most = cache_bytes(self.device)
        self.prompts, self.encoded = PromptCache(max_bytes=most), EncodedCache(max_bytes=most)

    @property
    def family(self) -> Family:
        """What kind of model this is."""
        return FAMILIES[self.profile.family]

    @property
    def tiers(self) -> ModelTiers:
        """How its networks are called."""
        if self._tiers is None or self._tiers.workshop is not self.workshop:
            self._tiers = ModelTiers(self.workshop)
        return self._tiers

    @property
    def vae(self) -> Any:
        """The autoencoder."""
        return self.components["vae"]

    @property
    def denoiser(self) -> Any:
        """The network that is called at each step: a UNet or a transformer."""
        return self.components[self.family.denoiser]

    @property
    def text_encoders(self) -> dict[str, Any]:
        """The text encoders that this checkpoint has, by component name."""
        found = {name: self.components.get(name) for name in self.family.text_encoders}
        return {name: encoder for name, encoder in found.items() if encoder is not None}

    @property
    def tokenizers(self) -> dict[str, Any]:
        """The tokenizers that this checkpoint has, by component name."""
        found = {name: self.components.get(name) for name in self.family.tokenizers}
        return {name: tokenizer for name, tokenizer in found.items() if tokenizer is not None}

    @property
    def memory_notes(self) -> tuple[str, ...]:
        """What saving memory costs a picture of this model, if it does."""
        if self.rung is None or self.rung is Rung.RESIDENT:
            return ()
        return (f"to save memory: {self.rung.told}",)

    @property
    def scale_factor(self) -> int:
        """Px per latent."""
        return vae_scale_factor(self.vae.config)

    @property
    def usual_extent(self) -> Extent:
        """The size that most of its pictures have, px: what it was trained at, or a megapixel."""
        if self.profile.best_extent is not None:
            return self.profile.best_extent
        trained_at = getattr(self.denoiser.config, "sample_size", None)
        side = trained_at * self.scale_factor if isinstance(trained_at, int) else _MEGAPIXEL_SIDE
        largest = self.profile.max_extent
        return Extent(min(side, largest.width), min(side, largest.height))

    @property
    def latents(self) -> Latents:
        """Its latents, to and from grids."""
        family = self.family
        return Latents(family.latent_space, self.vae, self.scale_factor, family.draws_latents)

    @property
    def seamless_multiple(self) -> int:
        """Sides that tile: even at every level of a UNet, or a level's last column would have no partner."""
        if self.family.denoiser != "unet":
            return self.profile.multiple
        levels = len(self.denoiser.config.block_out_channels)
        return max(self.profile.multiple, self.scale_factor * int(2 ** (levels - 1)))

    def route(self, task: str) -> Route:
        """How "text_to_image", "image_to_image" or "inpaint" is done. Errors: InvalidRequest if it cannot be done."""
        known = self.family.tasks.get(task)
        if known is None:
            raise InvalidRequest(
                "parameters.model",
                f"The model {self.profile.model_id!r} cannot do {task}: "
                f"{self.family.refused.get(task, 'its family has no pipeline for it')}.",
                allowed=", ".join(self.family.tasks),
            )
        # Stock inpainting counts the channels of a UNet and knows no other numbers.
        if (
            task == "inpaint"
            and self.family.denoiser == "unet"
            and int(self.denoiser.config.in_channels) not in (4, INPAINT_CHANNELS)
        ):
            return Route.MASKED_LATENTS
        return known.route

    def pipeline(self, task: str, scheduler: str) -> Any:
        """The stock diffusers pipeline for "text_to_image", "image_to_image" or "inpaint", with a fresh scheduler."""
        self.route(task)
        name = self.family.tasks[task].class_name
        pipeline = self._pipelines.get(name)
        if pipeline is None:
            kind = _on(self.device, pipeline_class(name))
            # The same objects in every pipeline: another task costs no second copy of the weights.
            known = inspect.signature(kind.__init__).parameters
            parts = {**self.components, **self.options, **self.family.pipeline_options}
            pipeline = kind(**{key: part for key, part in parts.items() if key in known})
            pipeline.set_progress_bar_config(disable=True)
            self._pipelines[name] = pipeline
        pipeline.scheduler = self.schedulers.fresh(scheduler)
        return pipeline

    @property
    def schedulers(self) -> Schedulers:
        """Fresh ones by name."""
        if self._schedulers is None:
            self._schedulers = Schedulers(self.components["scheduler"].config)
        return self._schedulers

    def preview(self, grid: torch.Tensor) -> npt.NDArray[np.uint8]:
        """A rough picture of a grid of latents, at most 256 px a side."""
        return self.prepare_preview()(grid)

    def prepare_preview(self) -> PreviewProjection:
        """Fits the previews if that has not been done yet: one small decode."""
        if self._preview is None:
            self._preview = PreviewProjection.fit(self.latents, self.device)
        return self._preview

    @property
    def decodes_upcast(self) -> bool:
        """Whether its autoencoder overflows in half precision, so that single precision is needed for it."""
        vae = self.vae
        # diffusers' own `dtype` walks through all modules, which a live picture would feel.
        half = next(vae.parameters()).dtype == torch.float16
        forced = half and bool(getattr(vae.config, "force_upcast", False))
        return forced and self.family.upcasts_vae

    @torch.no_grad()
    def decode(self, latents: torch.Tensor, extent: Extent) -> FloatArray:
        """A pipeline's result with output_type "latent" to (height, width, 3) float32 sRGB 0..1, by the stock
        pipelines' own operations. extent: px of that picture.

        Errors: TaskFailed when the numbers are not finite.
        """
        picture, finite = self.decoded(latents, extent)
        # Asked at the end: to ask is to wait for the device.
        array = on_host(picture).numpy()
        need_finite(finite)
        return array

    @torch.no_grad()
    def decoded(self, latents: torch.Tensor, extent: Extent) -> tuple[torch.Tensor, torch.Tensor]:
        """As `decode`, left on the device; and whether all numbers are finite, for `need_finite`."""
        image = self._decoded(latents, extent)
        picture = (image * 0.5 + 0.5).clamp(0, 1)[0].permute(1, 2, 0).float().contiguous()
        return picture, torch.isfinite(latents).all() & torch.isfinite(picture).all()

    def _decoded(self, latents: torch.Tensor, extent: Extent) -> torch.Tensor:
        if not self.decodes_upcast:
            return self.latents.decode(self.latents.finished(latents, extent))
        vae = self.vae
        if (wide := self.tiers.wide_vae(self)) is not None:
            there = Latents(self.family.latent_space, wide, self.scale_factor)
            return there.decode(there.finished(latents, extent))
        vae.to(torch.float32)
        try:
            return self.latents.decode(self.latents.finished(latents.to(torch.float32), extent))
        finally:
            vae.to(torch.float16)


@cache
def _on(device: torch.device, kind: Any) -> Any:
    """The same pipeline, told where it computes: stock ones look where their first weights happen to be."""
    return type(
        kind.__name__, (kind,), {"_execution_device": device, "__module__": kind.__module__}
    )


def need_finite(finite: torch.Tensor) -> None:
    """Waits for the device. Errors: TaskFailed where a picture's numbers are not finite."""
    if not bool(finite):
        raise TaskFailed(
            "The model produced numbers that are not finite, so there is no picture; try another scheduler or a "
            "lower guidance_scale, and if it stays so the model's weights do not suit this device's precision."
        )


def on_host(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in the host's memory: by way of memory that the device can write to itself."""
    if tensor.device.type != "cuda":
        return tensor.cpu()
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    host.copy_(tensor, non_blocking=True)
    torch.cuda.current_stream(tensor.device).synchronize()
    return host
