"""A scheduler that starts in the middle and lets others see each step, for pipelines that offer neither."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch


class SteppedScheduler:
    """A stock scheduler in the place of which a stock pipeline is given this.

    begin: number of timesteps to leave out. on_step: sees, and may replace, the latents after each step; called with
    the index among the timesteps that remain. clean: whether the pipeline takes each step's clean picture for its
    result; after the last step latents are just that. The scheduler itself keeps all its timesteps, since multistep
    solvers look ahead in them.
    """

    def __init__(
        self,
        scheduler: Any,
        begin: int | None = None,
        on_step: Callable[[int, torch.Tensor], torch.Tensor] | None = None,
        *,
        clean: bool = False,
    ) -> None:
        self._scheduler = scheduler
        self._clean = clean
        self._begin = begin
        self._on_step = on_step
        self._index = 0
        self.set_timesteps = _signed_as(scheduler.set_timesteps, self._set_timesteps)
        self.step = _signed_as(scheduler.step, self._step)
        if hasattr(scheduler, "set_begin_index"):
            self.set_begin_index = self._set_begin_index

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheduler, name)

    @property
    def timesteps(self) -> torch.Tensor:
        """Those that are left."""
        left: torch.Tensor = self._scheduler.timesteps[self._begin or 0 :]
        return left

    @property
    def init_noise_sigma(self) -> Any:
        """What a pipeline multiplies its starting latents by; those that start late have their noise already."""
        return self._scheduler.init_noise_sigma if self._begin is None else 1.0

    def _set_timesteps(self, *args: Any, **kwargs: Any) -> None:
        self._scheduler.set_timesteps(*args, **kwargs)
        if self._begin is not None and hasattr(self._scheduler, "set_begin_index"):
            self._scheduler.set_begin_index(self._begin)
        self._index = 0

    def _set_begin_index(self, begin_index: int = 0) -> None:
        self._scheduler.set_begin_index((self._begin or 0) + begin_index)

    def _step(self, *args: Any, **kwargs: Any) -> Any:
        result = self._scheduler.step(*args, **kwargs | {"return_dict": False})
        latents = result[0]
        if self._on_step is not None:
            latents = self._on_step(self._index, latents)
        self._index += 1
        # PixArt-alpha's pipeline takes the clean picture of a single step, which not every scheduler tells; after the
        # last step the latents are just that.
        return (latents, latents) if self._clean or len(result) == 1 else (latents, *result[1:])


def _signed_as(stock: Callable[..., Any], ours: Callable[..., Any]) -> Callable[..., Any]:
    # diffusers looks at the signature to decide what to pass.
    @functools.wraps(stock)
    def call(*args: Any, **kwargs: Any) -> Any:
        return ours(*args, **kwargs)

    return call


def noised(
    scheduler: Any, latents: torch.Tensor, noise: torch.Tensor, timestep: torch.Tensor
) -> torch.Tensor:
    """latents with as much of noise as they have at that timestep. timestep: one element."""
    if hasattr(scheduler, "scale_noise"):
        flown: torch.Tensor = scheduler.scale_noise(latents, timestep, noise)
        return flown
    diffused: torch.Tensor = scheduler.add_noise(latents, noise, timestep)
    return diffused
