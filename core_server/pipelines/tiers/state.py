"""What decides a denoiser's numbers beside its arguments: the weights in place and what adapters make of them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from torch import nn


def state_of(denoiser: nn.Module, *, has_adapters: bool) -> Hashable:
    """Equal for two calls only if the same weights, at the same addresses, act in the same way.

    What is written into the same weights needs no other state: a graph reads them anew. has_adapters: whether a LoRA
    was ever loaded; without, no module but the model's own is there, and one address tells enough.
    """
    if not has_adapters:
        return next(denoiser.parameters()).data_ptr()
    addresses = tuple((p.data_ptr(), p.shape) for p in denoiser.parameters())
    layers = tuple(_acting(module) for module in denoiser.modules() if hasattr(module, "scaling"))
    return (addresses, layers)


def _acting(layer: Any) -> Hashable:
    """Of a layer of peft: which adapters act, and how much."""
    return (
        bool(getattr(layer, "disable_adapters", False)),
        bool(getattr(layer, "merged", False)),
        tuple(getattr(layer, "active_adapters", ())),
        tuple(sorted((name, float(value)) for name, value in layer.scaling.items())),
    )
