"""One step of the UNet's training, in the shape that a graph can record."""

from __future__ import annotations

from collections.abc import Callable

import torch

from core_server.training.default_model.networks import (
    LATENT_CHANNELS,
    TEXT_WIDTH,
    TOKENS,
    Padding,
)

Tensor = torch.Tensor
Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(latents, timesteps, words) -> v, shaped as the latents."""


class TrainingStep:
    """Forward and backward pass of the UNet on `n` latents of one size, in buffers that stay.

    The text encoder stays outside: its words come in as `words` and their gradient goes back.
    """

    def __init__(self, predict: Predict, padding: Padding, n: int, side: int, device: str) -> None:
        self._predict, self._padding = predict, padding
        self.x = torch.zeros(n, LATENT_CHANNELS, side, side, device=device)
        self.x = self.x.to(memory_format=torch.channels_last)
        self.target = torch.zeros_like(self.x)
        self.t = torch.zeros(n, dtype=torch.long, device=device)
        self.mask = torch.ones(n, 1, 1, 1, device=device)
        self.words = torch.zeros(n, TOKENS, TEXT_WIDTH, device=device, requires_grad=True)
        self.words.grad = torch.zeros_like(self.words)
        self.run: Callable[[], Tensor] = self.plain

    def plain(self) -> Tensor:
        """The mean squared error, (); adds to the gradients of the UNet, replaces `words.grad`."""
        assert self.words.grad is not None
        self.words.grad.zero_()
        self._padding.mask = self.mask
        kind = self.x.device.type
        # No cache: a recorded step must cast the weights anew each time.
        with torch.autocast(kind, torch.bfloat16, enabled=kind != "cpu", cache_enabled=False):
            out = self._predict(self.x, self.t, self.words)
        loss = (out.float() - self.target).pow(2).mean()
        loss.backward()  # type: ignore[no-untyped-call]  # torch
        return loss.detach()
