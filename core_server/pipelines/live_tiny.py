"""The halves of a tiny autoencoder with a convolution, its bias, what is added and the ReLU as one kernel each.

The arithmetic is that of diffusers' `AutoencoderTiny`; cuDNN rounds once where PyTorch's kernels round after each
operation. A half that is built in another way is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from diffusers.models.autoencoders.vae import DecoderTiny, EncoderTiny
from diffusers.models.unets.unet_2d_blocks import AutoencoderTinyBlock
from torch import nn
from torch.nn import functional

Step = Callable[[torch.Tensor], torch.Tensor]


class Convolutions(Protocol):
    """Of pictures (batch, channels, height, width), channels last."""

    def relu(self, x: torch.Tensor, conv: nn.Conv2d) -> torch.Tensor:
        """relu(conv(x))."""

    def added_relu(self, x: torch.Tensor, conv: nn.Conv2d, y: torch.Tensor) -> torch.Tensor:
        """relu(conv(x) + y)."""


class TorchConvolutions:
    """By PyTorch's own operations: what the fused ones are measured against."""

    def relu(self, x: torch.Tensor, conv: nn.Conv2d) -> torch.Tensor:
        """As the protocol says."""
        return functional.relu(conv(x))

    def added_relu(self, x: torch.Tensor, conv: nn.Conv2d, y: torch.Tensor) -> torch.Tensor:
        """As the protocol says."""
        return functional.relu(conv(x) + y)


class CudnnConvolutions:
    """By cuDNN's fused kernels; half precision, channels last."""

    def relu(self, x: torch.Tensor, conv: nn.Conv2d) -> torch.Tensor:
        """As the protocol says."""
        return torch.cudnn_convolution_relu(
            x, conv.weight, conv.bias, conv.stride, _padding(conv), conv.dilation, conv.groups
        )

    def added_relu(self, x: torch.Tensor, conv: nn.Conv2d, y: torch.Tensor) -> torch.Tensor:
        """As the protocol says."""
        return torch.cudnn_convolution_add_relu(
            x,
            conv.weight,
            y,
            1.0,
            conv.bias,
            conv.stride,
            _padding(conv),
            conv.dilation,
            conv.groups,
        )


def _padding(conv: nn.Conv2d) -> tuple[int, ...]:
    assert not isinstance(conv.padding, str)
    return conv.padding


def fused(half: nn.Module, convolutions: Convolutions) -> Step | None:
    """The encoder or decoder by these convolutions; None where it is not built as they think."""
    if not isinstance(half, EncoderTiny | DecoderTiny):
        return None
    steps = _steps(list(half.layers), convolutions)
    if steps is None:
        return None
    decodes = isinstance(half, DecoderTiny)

    def run(x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(x / 3) * 3 if decodes else x.add(1).div(2)
        x = x.contiguous(memory_format=torch.channels_last)
        for step in steps:
            x = step(x)
        return x.mul(2).sub(1) if decodes else x

    return run


def _steps(layers: Sequence[nn.Module], convolutions: Convolutions) -> list[Step] | None:
    found: list[Step] = []
    following = 0
    while following < len(layers):
        layer, next_one = layers[following], layers[following + 1 : following + 2]
        step: Step | None = layer
        if _is_plain(layer) and next_one and isinstance(next_one[0], nn.ReLU):
            step = _with_relu(layer, convolutions)
            following += 1
        elif isinstance(layer, AutoencoderTinyBlock):
            step = _block(layer, convolutions)
        elif not isinstance(layer, nn.Conv2d | nn.Upsample):
            step = None
        if step is None:
            return None
        found.append(step)
        following += 1
    return found


def _block(block: AutoencoderTinyBlock, convolutions: Convolutions) -> Step | None:
    """relu(conv(relu(conv(relu(conv(x))))) + skip(x))."""
    kinds = [type(it) for it in block.conv]
    if kinds != [nn.Conv2d, nn.ReLU, nn.Conv2d, nn.ReLU, nn.Conv2d]:
        return None
    if type(block.fuse) is not nn.ReLU or not all(_is_plain(it) for it in block.conv[::2]):
        return None
    first, second, third = block.conv[::2]
    skip = block.skip

    def run(x: torch.Tensor) -> torch.Tensor:
        hidden = convolutions.relu(convolutions.relu(x, first), second)
        return convolutions.added_relu(hidden, third, skip(x))

    return run


def _with_relu(conv: nn.Module, convolutions: Convolutions) -> Step:
    assert isinstance(conv, nn.Conv2d)
    return lambda x: convolutions.relu(x, conv)


def _is_plain(module: nn.Module) -> bool:
    return (
        type(module) is nn.Conv2d
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and module.bias is not None
    )
