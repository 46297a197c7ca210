"""Control networks beside a transformer: before each of its calls they see what it sees, and it adds their answer.

The stock pipelines with control do just that, each for one task; here it is done for whatever pipeline calls the
transformer, so that every task of a family has control, and the pictures of the tasks that diffusers has are the same
bit for bit. Pictures come to the networks as those pipelines bring them, random draws included.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from core_server.canvas.geometry import Extent
from core_server.pipelines.control import Control
from core_server.pipelines.memory import Rung
from core_server.pipelines.model import FloatArray, LoadedModel
from core_server.pipelines.overrides import called_by
from core_server.pipelines.seamless_roll import Roller
from core_server.pipelines.settings import Settings

Tensor = torch.Tensor
Found = Mapping[str, Any]
"""Arguments of the transformer: lists of tensors, or dicts of them by layer."""


@dataclass(frozen=True, slots=True)
class Steering:
    """What one picture's control needs. pipeline: the stock one that paints; generator: the picture's, before anything
    was drawn from it; painted: px; multiple: of the model's sides."""

    model: LoadedModel
    settings: Settings
    control: Control
    pipeline: Any
    generator: torch.Generator
    own: torch.Generator
    painted: Extent
    multiple: int


def steering(
    model: LoadedModel, settings: Settings, pipeline: Any, generator: torch.Generator, *, seed: int,
    painted: Extent, multiple: int,
) -> Steering | None:  # fmt: skip
    """None where no transformer is to be controlled."""
    control = settings.control
    if control is None or model.family.denoiser == "unet" or model.family.controls_itself:
        return None
    # For what the stock pipelines draw from the process's random numbers, which would make no picture twice.
    own = torch.Generator("cpu").manual_seed(seed)
    return Steering(model, settings, control, pipeline, generator, own, painted, multiple)


@contextmanager
def steered(the: Steering | None, roller: Roller) -> Iterator[None]:
    """Within the context the transformer is called together with its control networks. Afterwards nothing is left."""
    if the is None:
        yield
        return
    denoiser, control = the.model.denoiser, the.control
    shown = control.shown(the.painted, the.multiple, roller.axes)
    original = denoiser.forward
    with ExitStack() as stack:
        ways = []
        for k, image in enumerate(control.images):
            way = _WAYS[the.model.family.control](the, roller, control.networks[k])
            way.weight, way.mode = image.weight, control.files[k].mode(image.kind)
            with torch.no_grad():
                way.condition = way.seen(shown[k])
            stack.enter_context(way.ready())
            ways.append(way)

        def forward(*args: Any, **kwargs: Any) -> Any:
            found: Found = {}
            for way in ways:
                found = _added(found, way.answer(args, kwargs))
            return original(*args, **{**kwargs, **found})

        stack.enter_context(called_by(denoiser, forward))
        yield


class _Way(ABC):
    """How the networks of one family are asked. condition: the picture as the network takes it."""

    weight: float
    mode: int | None
    condition: Tensor

    def __init__(self, the: Steering, roller: Roller, network: Any) -> None:
        self._the, self._roller, self._network = the, roller, network
        self._vae, self._config = the.model.vae, the.model.vae.config

    @abstractmethod
    def seen(self, picture: FloatArray) -> Tensor:
        """What the network takes for a picture."""

    @abstractmethod
    def answer(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Found:
        """What the network adds to one call of the transformer with these arguments."""

    @contextmanager
    def ready(self) -> Iterator[None]:
        """For what the network lacks."""
        yield

    def _preprocessed(self, picture: FloatArray) -> Tensor:
        pixels: Tensor = self._the.pipeline.image_processor.preprocess(picture[None])
        # In memory as the stock pipelines have it after repeating it for a batch: that decides last bits.
        return pixels.contiguous().to(self._the.model.device, self._vae.dtype)

    def _hidden(self, like: Tensor) -> Tensor:
        """(1, 1, height, width) 0 or 1 where the picture is repainted."""
        assert self._the.control.hidden is not None
        hard = np.ascontiguousarray(self._the.control.hidden >= 0.5)
        return torch.from_numpy(hard)[None, None].to(like.device, like.dtype)

    @property
    def _guided(self) -> bool:
        return self._the.settings.guidance_scale > 1

    def _rolled(self) -> Tensor:
        return self._roller.rolled(self.condition)


class _Flux(_Way):
    """`FluxControlNetPipeline`; networks of InstantX and Shakker Labs see latents, those of XLabs the picture."""

    def seen(self, picture: FloatArray) -> Tensor:
        pixels = self._preprocessed(picture)
        if self._network.input_hint_block is not None:
            return pixels
        latents = self._the.model.latents
        return latents.from_grid(latents.encode(pixels, self._the.generator))

    def answer(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Found:
        network, same = self._network, dict(kwargs)
        same.pop("controlnet_blocks_repeat", None)
        if not network.config.guidance_embeds:
            same["guidance"] = None
        elif same.get("guidance") is None:  # of a transformer without
            scale = [self._the.settings.guidance_scale]
            same["guidance"] = torch.tensor(scale, device=self.condition.device)
        hint = network.input_hint_block is not None
        px = 2 * self._the.model.scale_factor if hint else 1
        mode = None
        if self.mode is not None:
            mode = torch.full((1, 1), self.mode, dtype=torch.long, device=self.condition.device)
        double, single = network(
            controlnet_cond=self._roller.rolled(self.condition, px),
            controlnet_mode=mode,
            conditioning_scale=self.weight,
            **same,
        )
        found = {"controlnet_block_samples": double, "controlnet_single_block_samples": single}
        return {key: it for key, it in found.items() if it is not None} | {
            "controlnet_blocks_repeat": hint
        }


class _StableDiffusion3(_Way):
    """`StableDiffusion3ControlNetPipeline` and, with a mask, `StableDiffusion3ControlNetInpaintingPipeline`."""

    def seen(self, picture: FloatArray) -> Tensor:
        pixels = self._preprocessed(picture)
        rows = 2 if self._guided else 1
        if self._network.config.extra_conditioning_channels:
            hidden = self._hidden(pixels)
            masked = torch.where(hidden > 0.5, -1.0, pixels)
            grid = self._encoded(masked, shift=self._config.shift_factor)
            kept = 1 - functional.interpolate(hidden, size=grid.shape[-2:])
            return torch.cat([torch.cat([grid, kept], dim=1)] * rows)
        # InstantX's networks were trained without the shift.
        is_zero = self._network.config.force_zeros_for_pooled_projection
        shift = 0.0 if is_zero else self._config.shift_factor
        return self._encoded(torch.cat([pixels] * rows), shift=shift)

    def _encoded(self, pixels: Tensor, *, shift: float) -> Tensor:
        codes = self._vae.encode(pixels).latent_dist.sample(self._the.own)
        grid: Tensor = (codes - shift) * self._config.scaling_factor
        return grid

    @contextmanager
    def ready(self) -> Iterator[None]:
        network = self._network
        if network.config.use_pos_embed is not False:
            yield
            return
        # Those for 3.5 large have their positions from the transformer.
        own = network._get_pos_embed_from_transformer(self._the.model.denoiser)
        network.pos_embed = own.to(self._the.model.device, network.dtype)
        try:
            yield
        finally:
            network.pos_embed = None

    def answer(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Found:
        config, latents = self._network.config, kwargs["hidden_states"]
        pooled = kwargs["pooled_projections"]
        if config.force_zeros_for_pooled_projection or config.extra_conditioning_channels:
            pooled = torch.zeros_like(pooled)
        reads = config.joint_attention_dim is not None
        [found] = self._network(
            hidden_states=latents,
            timestep=kwargs["timestep"],
            encoder_hidden_states=kwargs["encoder_hidden_states"] if reads else None,
            pooled_projections=pooled,
            controlnet_cond=self._rolled()[-latents.shape[0] :],
            conditioning_scale=self.weight,
            return_dict=False,
        )
        return {"block_controlnet_hidden_states": found}


class _QwenImage(_Way):
    """`QwenImageControlNetPipeline` and, with a mask, `QwenImageControlNetInpaintPipeline`.

    The answer for the prompt is added for the negative prompt too.
    """

    def __init__(self, the: Steering, roller: Roller, network: Any) -> None:
        super().__init__(the, roller, network)
        self._prompt: Tensor | None = None
        self._last: Found = {}

    def seen(self, picture: FloatArray) -> Tensor:
        pixels = self._preprocessed(picture)
        latents = self._the.model.latents
        if not self._network.config.extra_condition_channels:
            return latents.from_grid(self._encoded(pixels, self._the.generator))
        hidden = self._hidden(pixels)
        grid = self._encoded(torch.where(hidden > 0.5, -1.0, pixels), self._the.own)
        kept = 1 - functional.interpolate(hidden, size=grid.shape[-2:])
        return latents.from_grid(torch.cat([grid, kept], dim=1))

    def _encoded(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        codes = self._vae.encode(pixels.unsqueeze(2)).latent_dist.sample(generator)[:, :, 0]
        mean, std = (
            torch.tensor(it).view(1, -1, 1, 1).to(codes)
            for it in (self._config.latents_mean, self._config.latents_std)
        )
        grid: Tensor = (codes - mean) * (1.0 / std)
        return grid

    def answer(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Found:
        words = kwargs["encoder_hidden_states"]
        if self._prompt is None:
            self._prompt = words
        if words is self._prompt:
            shared = ("hidden_states", "timestep", "encoder_hidden_states_mask", "img_shapes")
            found = self._network(
                controlnet_cond=self._rolled().to(words.dtype),
                conditioning_scale=self.weight,
                encoder_hidden_states=words,
                return_dict=False,
                **{name: kwargs[name] for name in shared},
            )
            self._last = {"controlnet_block_samples": found}
        return self._last


class _ZImage(_Way):
    """`ZImageControlNetPipeline` and `ZImageControlNetInpaintPipeline`; parts of the transformer are the network's."""

    _PARTS = (
        "t_embedder", "all_x_embedder", "cap_embedder", "rope_embedder", "noise_refiner",
        "context_refiner",
    )  # fmt: skip
    _TOKENS = ("x_pad_token", "cap_pad_token")

    def seen(self, picture: FloatArray) -> Tensor:
        pixels = self._preprocessed(picture)
        grid = self._encoded(pixels)
        wide = int(self._network.config.control_in_dim)
        more = wide - grid.shape[1]
        control = self._the.control
        if more and control.hidden is not None:
            assert control.beneath is not None
            hidden = self._hidden(pixels)
            beneath = self._encoded(self._preprocessed(control.beneath) * (hidden < 0.5))
            kept = functional.interpolate(1 - hidden, size=grid.shape[-2:], mode="nearest")
            grid = torch.cat([grid, kept, beneath], dim=1)
        elif more:
            grid = torch.cat([grid, grid.new_zeros(1, more, *grid.shape[2:])], dim=1)
        return grid

    def _encoded(self, pixels: Tensor) -> Tensor:
        codes = self._vae.encode(pixels).latent_dist.mode()
        grid: Tensor = (codes - self._config.shift_factor) * self._config.scaling_factor
        return grid

    @contextmanager
    def ready(self) -> Iterator[None]:
        network, model = self._network, self._the.model
        # What comes to the device for a call of the whole transformer alone is not there for the network.
        copied = model.rung is Rung.MODEL_OFFLOAD
        try:
            network.t_scale = model.denoiser.t_scale
            for name in self._PARTS:
                part = getattr(model.denoiser, name)
                if copied:
                    part = copy.deepcopy(part)
                    if isinstance(part, torch.nn.Module):
                        part = part.to(model.device)
                setattr(network, name, part)
            for name in self._TOKENS:
                token = getattr(model.denoiser, name).detach().to(model.device)
                setattr(network, name, torch.nn.Parameter(token, requires_grad=False))
            yield
        finally:
            for name in ("t_scale", *self._PARTS, *self._TOKENS):
                setattr(network, name, None)

    def answer(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Found:
        x, t, words = args
        condition = self._rolled().unsqueeze(2)
        found = self._network(
            x, t, words, condition.repeat(len(x), 1, 1, 1, 1), conditioning_scale=self.weight
        )
        return {"controlnet_block_samples": found}


class _Sana(_Way):
    """`SanaControlNetPipeline`."""

    def seen(self, picture: FloatArray) -> Tensor:
        pixels = torch.cat([self._preprocessed(picture)] * (2 if self._guided else 1))
        return self._the.model.latents.encode(pixels, self._the.generator)

    def answer(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Found:
        latents, network = args[0], self._network
        scale = self._the.model.denoiser.config.timestep_scale  # which the networks do not know
        [found] = network(
            latents.to(network.dtype),
            encoder_hidden_states=kwargs["encoder_hidden_states"].to(network.dtype),
            encoder_attention_mask=kwargs["encoder_attention_mask"],
            timestep=kwargs["timestep"] / scale,
            controlnet_cond=self._rolled()[-latents.shape[0] :],
            conditioning_scale=self.weight,
            return_dict=False,
        )
        return {"controlnet_block_samples": tuple(it.to(latents.dtype) for it in found)}


_WAYS: dict[str, type[_Way]] = {
    "FluxControlNetModel": _Flux,
    "SD3ControlNetModel": _StableDiffusion3,
    "QwenImageControlNetModel": _QwenImage,
    "ZImageControlNetModel": _ZImage,
    "SanaControlNetModel": _Sana,
}


def _added(one: Found, other: Found) -> Found:
    """Answers of several networks add up."""
    return {**one, **{key: _sum(one[key], it) if key in one else it for key, it in other.items()}}


def _sum(one: Any, other: Any) -> Any:
    if isinstance(one, dict):
        return {key: one[key] + other[key] if key in one else other[key] for key in other} | {
            key: it for key, it in one.items() if key not in other
        }
    if isinstance(one, Sequence):
        return [a + b for a, b in zip(one, other, strict=True)]
    return one
