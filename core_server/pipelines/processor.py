"""Speed on a processor: half precision where the processor has it and the eye cannot tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from core_server.pipelines.model import LoadedModel


def suit_processor(model: LoadedModel) -> None:
    """Lets the autoencoder of a model whose profile allows it compute in bfloat16 on a processor that has it.

    What goes in and out stays float32, and so do denoiser and latents: pictures differ by one level of 255 here and
    there, and an autoencoder of many px takes two fifths of the time, its weights laid out with channels last. Other
    models and devices are left alone; so is a model that has been here before. What the processor has, and whether it
    is wanted, says the model's workshop (`tiers.workshop.make_workshop`).
    """
    if model.device.type != "cpu" or not model.profile.bfloat16_autoencoder:
        return
    if model.autoencoder_dtype is not None:
        return
    if model.workshop.processor is not torch.bfloat16:
        return
    model.vae.to(memory_format=torch.channels_last)
    for name in ("encode", "decode"):
        setattr(model.vae, name, _in_bfloat16(getattr(model.vae, name)))
    model.autoencoder_dtype = torch.bfloat16


def _in_bfloat16(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*arguments: Any, **options: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return _in_float32(function(*arguments, **options))

    return run


def _in_float32(output: Any) -> Any:
    """A tuple, or one of diffusers' outputs with names."""
    if isinstance(output, tuple):
        return tuple(part.float() for part in output)
    for name, value in list(output.items()):
        if isinstance(value, torch.Tensor):
            output[name] = value.float()
    return output
