"""A layer on which LoRAs act, as a compiler wants it: their weights and how much they act are arguments like any other.

So a LoRA's weight can change, and another LoRA of the same rank take its place, with the same program. The arithmetic
is that of peft's `lora.layer.Linear.forward`.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn


class LoraLinear(nn.Module):
    """base(x) + the sum of up(down(x)) * scale."""

    def __init__(self, base: nn.Module, parts: list[tuple[nn.Linear, nn.Linear, float]]) -> None:
        super().__init__()
        self.base = base
        self.downs = nn.ModuleList(down for down, _, _ in parts)
        self.ups = nn.ModuleList(up for _, up, _ in parts)
        for number, (down, _, scale) in enumerate(parts):
            self.register_buffer(f"scale_{number}", _on_device(scale, down.weight.device))
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the layer that it stands for."""
        result: torch.Tensor = self.base(x)
        dtype = result.dtype
        for number, (down, up) in enumerate(zip(self.downs, self.ups, strict=True)):
            x = x.to(down.weight.dtype)  # type: ignore[arg-type]
            result = result + up(down(x)) * getattr(self, f"scale_{number}")
        return result.to(dtype)


def is_adapted(module: nn.Module) -> bool:
    """Whether it is one of peft's layers around another one."""
    return hasattr(module, "base_layer") and hasattr(module, "scaling")


def settings_of(layer: Any) -> list[object]:
    """What decides, beside weights, what one of peft's layers computes."""
    scaling = layer.scaling
    acting = [(name, float(scaling[name])) for name in layer.active_adapters if name in scaling]
    return [bool(layer.disable_adapters), bool(layer.merged), tuple(acting)]


def unwrapped(layer: Any) -> nn.Module | None:
    """The stock layer, or a `LoraLinear` where adapters act; None for what is neither."""
    if layer.merged:
        return None
    base: nn.Module = layer.base_layer
    if layer.disable_adapters:
        return base
    names = [name for name in layer.active_adapters if name in getattr(layer, "lora_A", ())]
    if not names:
        return base
    parts = []
    for name in names:
        down, up, dropout = layer.lora_A[name], layer.lora_B[name], layer.lora_dropout[name]
        plain = type(base) is type(down) is type(up) is nn.Linear
        if not plain or name in layer.lora_variant or not _does_nothing(dropout):
            return None
        parts.append((down, up, float(layer.scaling[name])))
    return LoraLinear(base, parts)


def _does_nothing(dropout: nn.Module) -> bool:
    return isinstance(dropout, nn.Identity) or not dropout.training


@functools.cache
def _on_device(scale: float, device: torch.device) -> torch.Tensor:
    # One for each value, for ever: graphs that were recorded with it read it at its address.
    return torch.tensor(scale, dtype=torch.float32, device=device)
