"""A few steps from a noised picture to a picture, at exactly the strength asked for.

Stock pipelines count steps down a fixed schedule, so that with one or two of them most strengths cannot be met. Here
the steps are laid evenly between the noise level that `strength` names and none.
DDIM with eta = 0: Song, Meng, Ermon (2020), "Denoising Diffusion Implicit Models", eq. 12. For consistency models and
ancestral schedulers each prediction is noised again instead: Song et al. (2023), "Consistency Models", algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDIMScheduler

Denoiser = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(latents, timestep of one element) -> prediction, guidance applied."""

_NOISED_AGAIN = ("lcm", "tcd", "euler_a", "dpm2_a")
"""Schedulers whose models expect fresh noise at each step."""


def solver_name(scheduler: str) -> str:
    """What paints live where `scheduler` is asked for, as a name of `pipelines.schedulers`."""
    return "lcm" if scheduler in _NOISED_AGAIN else "ddim"


@dataclass(frozen=True, slots=True, eq=False)
class LiveSolver:
    """alphas: cumulative products of alpha, (training timesteps,) float32 on the CPU. kind: prediction_type.

    noised_again: whether each prediction is noised anew instead of followed.
    """

    alphas: torch.Tensor
    kind: str
    noised_again: bool

    @staticmethod
    def of(config: Any, scheduler: str) -> LiveSolver:
        """config: the model's scheduler configuration; scheduler: a name of `pipelines.schedulers`."""
        stock = DDIMScheduler.from_config(config, clip_sample=False)
        kind = str(stock.config.prediction_type)
        return LiveSolver(stock.alphas_cumprod.float(), kind, scheduler in _NOISED_AGAIN)

    def timesteps(self, steps: int, strength: float) -> list[int]:
        """From the noise level of `strength` on, evenly, none of them 0; fewer than `steps` where there are no more."""
        first = max(1, round(strength * len(self.alphas)))
        return list(
            dict.fromkeys(max(1, round(first * (steps - k) / steps)) - 1 for k in range(steps))
        )

    def levels(self, timesteps: list[int]) -> torch.Tensor:
        """(timesteps, 2) float32 on the CPU: how much of the picture and of the noise there is at each of them."""
        alphas = [float(self.alphas[timestep]) for timestep in timesteps]
        return torch.tensor([[alpha**0.5, (1 - alpha) ** 0.5] for alpha in alphas])

    def noised(
        self, latents: torch.Tensor, noise: torch.Tensor, level: torch.Tensor
    ) -> torch.Tensor:
        """latents with as much noise as a row of `levels` says."""
        mixed: torch.Tensor = latents * level[0] + noise * level[1]
        return mixed

    def solve(
        self,
        denoiser: Denoiser,
        latents: torch.Tensor,
        noises: Callable[[int], torch.Tensor],
        timesteps: torch.Tensor,
        levels: torch.Tensor,
        *,
        after_step: Callable[[int], None] | None = None,
    ) -> torch.Tensor:
        """The picture's latents. noises: the k-th fixed noise of the session; timesteps: (steps,) int64, and levels:
        theirs, on the latents' device; after_step: told of each step from 1.

        All that changes from frame to frame is in tensors, so that a graph of the call stays true.
        """
        steps = len(timesteps)
        current = self.noised(latents, noises(0), levels[0])
        for k in range(steps):
            prediction = denoiser(current, timesteps[k : k + 1])
            clean, noise = self._split(current, prediction, levels[k])
            if k + 1 == steps:
                current = clean
            else:
                following = noises(k + 1) if self.noised_again else noise
                current = self.noised(clean, following.to(clean.dtype), levels[k + 1])
            if after_step is not None:
                after_step(k + 1)
        return current

    def _split(
        self, latents: torch.Tensor, prediction: torch.Tensor, level: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The picture and the noise that latents consist of, by the model's prediction."""
        signal, spread = level[0], level[1]
        if self.kind == "v_prediction":  # Salimans, Ho (2022), appendix D
            return (
                latents * signal - prediction * spread,
                prediction * signal + latents * spread,
            )
        if self.kind == "sample":
            return prediction, (latents - prediction * signal) / spread
        return (latents - prediction * spread) / signal, prediction
