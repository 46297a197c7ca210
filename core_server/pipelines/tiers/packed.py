"""Layers of a network for a processor: weights in the layout and precision that oneDNN computes with, kept ready.

PyTorch turns a convolution's weights around at every call. Here that is done once for each size of picture, by the
operations that PyTorch's own compiler uses; where they are missing or wrong, PyTorch's usual ones take their place.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from core_server.pipelines.seamless import CircularConv

_MOST_SIZES = 2
"""Sizes of pictures for which a convolution keeps its weights ready."""


class PackedConv:
    """A convolution as `conv` is now, computed in `dtype`; tiling (`pipelines.seamless`) acts on it as on `conv`."""

    def __init__(self, conv: nn.Conv2d, dtype: torch.dtype, *, packs: bool | None = None) -> None:
        """packs: whether weights are packed; None asks PyTorch."""
        self._conv = conv
        self._dtype = dtype
        self._bias = None if conv.bias is None else conv.bias.to(dtype)
        self._is_point = conv.kernel_size == (1, 1) and conv.stride == (1, 1)
        weight = conv.weight.to(dtype)
        self._weight = (
            weight.flatten(1).contiguous()
            if self._is_point
            else weight.contiguous(memory_format=torch.channels_last)
        )
        self._packs = packs_convolutions(dtype) if packs is None else packs
        self._packed: OrderedDict[Any, torch.Tensor] = OrderedDict()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x: (batch, channels, height, width), of any type; the result is of the layer's, channels last."""
        x = x.to(self._dtype)
        if self._is_point:
            tokens = functional.linear(x.permute(0, 2, 3, 1), self._weight, self._bias)
            return tokens.permute(0, 3, 1, 2)
        conv = self._conv
        padding: Any = conv.padding
        # What `seamless` has put there acts now; anything else that stands there computes by itself.
        hand = vars(conv).get("_conv_forward")
        if isinstance(hand, CircularConv):
            x, padding = hand.wrapped(x)
        elif hand is not None:
            other: torch.Tensor = hand(x.to(conv.weight.dtype), conv.weight, conv.bias)
            return other.to(self._dtype)
        how = (conv.stride, padding, conv.dilation, conv.groups)
        if not self._packs:
            return functional.conv2d(x, self._weight, self._bias, *how)
        return _packed_convolution(x, self._ready(x, padding), self._bias, padding, conv)

    def _ready(self, x: torch.Tensor, padding: tuple[int, int]) -> torch.Tensor:
        key = (x.shape, padding)
        found = self._packed.get(key)
        if found is None:
            while len(self._packed) >= _MOST_SIZES:
                self._packed.popitem(last=False)
            found = self._packed[key] = _packed_weight(self._weight, x, padding, self._conv)
        return found


@functools.cache
def packs_convolutions(dtype: torch.dtype) -> bool:
    """Whether PyTorch has the operations here, and they give what its usual convolution gives."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    generator = torch.Generator().manual_seed(0)
    conv = nn.Conv2d(16, 32, 3, padding=1).requires_grad_(False)
    for parameter in conv.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator))
    conv.to(dtype)
    x = torch.randn(1, 16, 8, 8, generator=generator).to(dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    try:
        found = _packed_convolution(
            x, _packed_weight(conv.weight, x, (1, 1), conv), conv.bias, (1, 1), conv
        )
    except (AttributeError, RuntimeError):
        return False
    wanted = conv(x).float()
    difference = torch.linalg.vector_norm(found.float() - wanted)
    return bool(difference <= 1e-2 * torch.linalg.vector_norm(wanted))


def _packed_weight(
    weight: torch.Tensor, x: torch.Tensor, padding: tuple[int, int], conv: nn.Conv2d
) -> torch.Tensor:
    packed: torch.Tensor = torch.ops.aten.mkldnn_reorder_conv2d_weight(
        weight.to_mkldnn(), padding, conv.stride, conv.dilation, conv.groups, list(x.shape)
    )
    return packed


def _packed_convolution(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    padding: tuple[int, int],
    conv: nn.Conv2d,
) -> torch.Tensor:
    result: torch.Tensor = torch.ops.mkldnn._convolution_pointwise(
        x, weight, bias, padding, conv.stride, conv.dilation, conv.groups, "none", [], ""
    )
    return result
