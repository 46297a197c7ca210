"""Faster with a loss: only for whoever asks for it by name, and the recipe says so.

Guidance that ends early: Kynkäänniemi et al. (2024), arXiv:2404.07724, found that its last steps add little.
First block cache: while the first block of a transformer changes its input almost as in the step before, the others are
not computed, and what they added then is added again; diffusers' `FirstBlockCacheConfig`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import FirstBlockCacheConfig
from diffusers.models.cache_utils import CacheMixin

from core_server.errors import InvalidRequest
from core_server.pipelines.model import LoadedModel
from core_server.pipelines.overrides import called_by
from core_server.pipelines.settings import Settings
from core_server.pipelines.tiers.low_precision import need_precision

_PAIR = 2
"""Rows of a guided call of a UNet: without the prompt, with it."""


def need_shortcuts(model: LoadedModel, settings: Settings) -> None:
    """Errors: InvalidRequest for a shortcut that this model's denoiser does not have."""
    name = model.profile.model_id
    if settings.guidance_end < 1 and model.family.denoiser != "unet":
        raise InvalidRequest(
            "parameters.guidance_end",
            f"Guidance cannot end early with the model {name!r}: only models with a UNet can; leave guidance_end out.",
            allowed="unset",
        )
    if settings.block_cache and not isinstance(model.denoiser, CacheMixin):
        raise InvalidRequest(
            "parameters.block_cache",
            f"The model {name!r} has no block cache: FLUX and Qwen-Image models have one; leave block_cache out.",
            allowed="unset",
        )
    if settings.denoiser_precision:
        need_precision(model, settings)
    if settings.block_cache and settings.control is not None:
        raise InvalidRequest(
            "parameters.block_cache",
            "A block cache does not go with control images, which it would add twice; leave one of them out.",
            allowed="unset",
        )


class Guided:
    """How long guidance lasts in one picture. steps: those that really run."""

    def __init__(self, settings: Settings, steps: int) -> None:
        self._first_without = math.ceil(settings.guidance_end * steps)
        self._ends = settings.guidance_end < 1 and settings.guidance_scale > 1
        self._over = False

    def step_done(self, calls: int, order: int) -> None:
        """calls: timesteps done; order: of them in a step."""
        self._over = calls >= self._first_without * order

    @contextmanager
    def by(self, denoiser: Any) -> Iterator[None]:
        """Within the context the denoiser's calls without the prompt are left out once guidance is over.

        The same prediction stands in both places then, so that guidance of any weight gives it.
        """
        if not self._ends:
            yield
            return
        forward = denoiser.forward

        def call(sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            known = kwargs.get("return_dict") is False and sample.shape[0] == _PAIR
            if not (self._over and known):
                return forward(sample, *args, **kwargs)
            given, named = _with_prompt((args, kwargs))
            found = forward(sample[1:], *given, **named)[0]
            return (torch.cat([found, found]),)

        with called_by(denoiser, call):
            yield


@contextmanager
def cached_blocks(model: LoadedModel, settings: Settings) -> Iterator[None]:
    """Within the context a transformer's blocks are computed when its first one says so. Nothing stays of it."""
    if not settings.block_cache:
        yield
        return
    denoiser = model.denoiser
    denoiser.enable_cache(FirstBlockCacheConfig(threshold=settings.block_cache))
    try:
        # What decides as it goes is no graph: tiers leave a denoiser alone that somebody else calls.
        with called_by(denoiser, denoiser.forward):
            yield
    finally:
        denoiser.disable_cache()


def _with_prompt(value: Any) -> Any:
    """Arguments for the second row alone."""
    if isinstance(value, torch.Tensor):
        return value[1:] if value.ndim and value.shape[0] == _PAIR else value
    if isinstance(value, (tuple, list)):
        return type(value)(_with_prompt(it) for it in value)
    if isinstance(value, dict):
        return {name: _with_prompt(it) for name, it in value.items()}
    return value
