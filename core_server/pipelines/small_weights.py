"""Weights of our own small networks in one byte each: half of fp16, no visible difference."""

from __future__ import annotations

from collections.abc import Mapping

import torch

Tensor = torch.Tensor
_SCALE = ".scale"


def pack(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Matrices and kernels as int8 with one fp16 scale a row; vectors as fp16."""
    packed: dict[str, Tensor] = {}
    for name, value in weights.items():
        w = value.detach().float().cpu()
        if w.ndim < 2:
            packed[name] = w.half().contiguous()
            continue
        scale = (w.flatten(1).abs().amax(1).clamp(min=1e-6) / 127).half()
        rows = scale.float().view(-1, *[1] * (w.ndim - 1))
        packed[name] = (w / rows).round().clamp(-127, 127).to(torch.int8).contiguous()
        packed[name + _SCALE] = scale
    return packed


def unpack(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `pack` was given, in float32."""
    weights: dict[str, Tensor] = {}
    for name, value in packed.items():
        if value.dtype is torch.int8:
            scale = packed[name + _SCALE].float().view(-1, *[1] * (value.ndim - 1))
            weights[name] = value.float() * scale
        elif not name.endswith(_SCALE):
            weights[name] = value.float()
    return weights
