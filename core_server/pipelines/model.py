"""A loaded model: its components on their device, and the parts of a task that all tasks share."""

from __future__ import annotations

import inspect
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from core_server.errors import TaskFailed
from core_server.pipelines.families.family import Family
from core_server.pipelines.families.registry import FAMILIES, pipeline_class
from core_server.pipelines.preview import PreviewProjection
from core_server.pipelines.schedulers import make_scheduler
from core_server.pipelines.task import ModelProfile

FloatArray = npt.NDArray[np.float32]


@dataclass(slots=True, eq=False)
class LoadedModel:
    """Components shared by all tasks; schedulers are made for each job. weights_hash: SHA-256, made while loading.
    notes: what every recipe must say of this model."""

    profile: ModelProfile
    components: dict[str, Any]
    device: torch.device
    dtype: torch.dtype
    weights_hash: Future[str]
    notes: tuple[str, ...] = ()
    _pipelines: dict[str, Any] = field(default_factory=dict)
    _preview: PreviewProjection | None = None

    @property
    def vae(self) -> Any:
        """The autoencoder."""
        return self.components["vae"]

    @property
    def family(self) -> Family:
        """What kind of model this is."""
        return FAMILIES[self.profile.family]

    @property
    def denoiser(self) -> Any:
        """The network that is called at each step: a UNet or a transformer."""
        return self.components[self.family.denoiser]

    @property
    def unet(self) -> Any:
        """The denoiser."""
        return self.denoiser

    @property
    def scale_factor(self) -> int:
        """Px per latent."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def seamless_multiple(self) -> int:
        """Sides that tile: even at every level of the denoiser, or a level's last column would have no partner."""
        levels = len(self.unet.config.block_out_channels)
        return max(self.profile.multiple, self.scale_factor * int(2 ** (levels - 1)))

    def pipeline(self, task: str, scheduler: str) -> Any:
        """The stock diffusers pipeline for "text_to_image", "image_to_image" or "inpaint", with a fresh scheduler."""
        pipeline = self._pipelines.get(task)
        if pipeline is None:
            kind = pipeline_class(self.family.tasks[task].class_name)
            pipeline = kind(**self._parts(kind), **self.family.pipeline_options)
            pipeline.set_progress_bar_config(disable=True)
            self._pipelines[task] = pipeline
        pipeline.scheduler = make_scheduler(scheduler, self.components["scheduler"].config)
        return pipeline

    def _parts(self, kind: Any) -> dict[str, Any]:
        # The same objects in every pipeline: another task costs no second copy of the weights.
        names = inspect.signature(kind.__init__).parameters
        return {name: part for name, part in self.components.items() if name in names}

    def preview(self, latents: torch.Tensor) -> npt.NDArray[np.uint8]:
        """A rough picture of latents, at most 256 px a side."""
        if self._preview is None:
            self._preview = PreviewProjection.fit(self.vae)
        return self._preview(latents)

    @torch.no_grad()
    def decode(self, latents: torch.Tensor, generator: torch.Generator) -> FloatArray:
        """Latents of one picture to (height, width, 3) float32 sRGB 0..1, by the stock pipelines' own operations.

        Errors: TaskFailed when the numbers are not finite.
        """
        _require_finite(bool(torch.isfinite(latents).all()))
        vae = self.vae
        upcast = vae.dtype == torch.float16 and bool(getattr(vae.config, "force_upcast", False))
        if upcast and self.profile.family == "stable_diffusion_xl":
            vae.to(torch.float32)
            latents = latents.to(torch.float32)
        else:
            upcast = False
        try:
            latents = _denormalised(latents, vae.config)
            image = vae.decode(latents, return_dict=False, generator=generator)[0]
        finally:
            if upcast:
                vae.to(torch.float16)
        array = (image * 0.5 + 0.5).clamp(0, 1).cpu().permute(0, 2, 3, 1).float().numpy()[0]
        _require_finite(bool(np.isfinite(array).all()))
        return np.ascontiguousarray(array)


def _denormalised(latents: torch.Tensor, config: Any) -> torch.Tensor:
    mean, std = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
    if mean is None or std is None:
        scaled: torch.Tensor = latents / config.scaling_factor
        return scaled
    shape = (1, latents.shape[1], 1, 1)
    mean = torch.tensor(mean).view(shape).to(latents.device, latents.dtype)
    std = torch.tensor(std).view(shape).to(latents.device, latents.dtype)
    shifted: torch.Tensor = latents * std / config.scaling_factor + mean
    return shifted


def _require_finite(finite: bool) -> None:
    if not finite:
        raise TaskFailed(
            "The model produced numbers that are not finite, so there is no picture; try another scheduler or a lower "
            "guidance_scale, and if it stays so the model's weights do not suit this device's precision."
        )
