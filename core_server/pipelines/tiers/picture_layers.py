"""Layers of a UNet or an autoencoder that work on pictures in channels last: what our kernels make of each.

Biases and the timestep's share are added where they are read next, a convolution of single pixels is a matrix product,
and nothing turns the picture around in memory. Each function gives a method that computes what the stock one computes.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.upsampling import Upsample2D
from torch import nn
from torch.nn import functional

from core_server.pipelines.overrides import Function
from core_server.pipelines.tiers.operations import Operations
from core_server.pipelines.tiers.plain import is_plain, is_pointwise
from core_server.pipelines.tiers.time_shares import TimeShares


class ResnetForward:
    """The stock block's arithmetic, with biases and the timestep's embedding added where they are read next."""

    def __init__(self, block: Any, operations: Operations, shares: TimeShares) -> None:
        self._block, self._operations, self._shares = block, operations, shares

    def __call__(
        self,
        input_tensor: torch.Tensor | tuple[torch.Tensor, torch.Tensor],
        temb: torch.Tensor | None,
        *_: Any,
        **__: Any,
    ) -> torch.Tensor:
        """As the stock method. input_tensor: two pictures are taken for one, the channels of both."""
        block, operations = self._block, self._operations
        time = None if block.time_emb_proj is None else temb
        if time is not None:
            self._shares.begin(block, time)
        normed, shortcut = self._first_norm(input_tensor)
        hidden, added = _without_bias(block.conv1, normed)
        if time is not None:
            added = self._shares.of(block, time, added)
        elif added is not None:
            added = added[None]
        layer = block.norm2
        hidden = operations.group_norm(
            hidden, layer.num_groups, layer.weight, layer.bias, layer.eps, silu=True, added=added
        )
        hidden, bias = _without_bias(block.conv2, hidden)
        if block.conv_shortcut is not None:
            shortcut = _pointwise(block.conv_shortcut, shortcut)
        return operations.added_up(shortcut, hidden, bias)

    def _first_norm(
        self, x: torch.Tensor | tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        layer = self._block.norm1
        given = layer.num_groups, layer.weight, layer.bias, layer.eps
        if isinstance(x, tuple):
            return self._operations.joined_norm(x, *given)
        return self._operations.group_norm(x, *given, silu=True), x


def _without_bias(conv: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A convolution, and the bias that is still to be added to it."""
    if not is_plain(conv, nn.Conv2d):
        y: torch.Tensor = conv(x)
        return y, None
    return conv._conv_forward(x, conv.weight, None), conv.bias


def _pointwise(conv: Any, x: torch.Tensor) -> torch.Tensor:
    """A convolution of single pixels is a matrix product, which has its bias for nothing."""
    if not is_pointwise(conv):
        y: torch.Tensor = conv(x)
        return y
    tokens = functional.linear(x.permute(0, 2, 3, 1), conv.weight.flatten(1), conv.bias)
    return tokens.permute(0, 3, 1, 2)


def norm(layer: nn.GroupNorm, operations: Operations) -> Function:
    def forward(x: torch.Tensor) -> torch.Tensor:
        if x.ndim not in (3, 4):
            return nn.GroupNorm.forward(layer, x)
        picture = x if x.ndim == 4 else x[..., None]  # tokens of attention, turned around
        given = layer.num_groups, layer.weight, layer.bias, layer.eps
        return operations.group_norm(picture, *given).view_as(x)

    return forward


def geglu(layer: Any, operations: Operations) -> Function:
    return lambda hidden_states, *_, **__: operations.geglu(layer.proj(hidden_states))


def tokens_in(module: Any) -> Function:
    """As the stock method; a picture in channels last is a list of tokens as it is."""

    def tokens_of(hidden_states: torch.Tensor) -> tuple[torch.Tensor, int]:
        hidden = module.norm(hidden_states)
        if not module.use_linear_projection:
            hidden = _pointwise(module.proj_in, hidden)
        tokens = hidden.permute(0, 2, 3, 1).flatten(1, 2)
        width = tokens.shape[-1]
        return (module.proj_in(tokens) if module.use_linear_projection else tokens), width

    return tokens_of


def tokens_out(module: Any, operations: Operations) -> Function:
    """As the stock method, without turning the picture around in memory."""

    def output(  # noqa: PLR0917  the stock method's
        hidden_states: torch.Tensor,
        residual: torch.Tensor,
        batch_size: int,
        height: int,
        width: int,
        inner_dim: int,
    ) -> torch.Tensor:
        def picture(tokens: torch.Tensor) -> torch.Tensor:
            return tokens.reshape(batch_size, height, width, -1).permute(0, 3, 1, 2)

        if module.use_linear_projection:
            return operations.added_up(residual, picture(module.proj_out(hidden_states)), None)
        hidden = _pointwise(module.proj_out, picture(hidden_states))
        return operations.added_up(residual, hidden, None)

    return output


def convolution(conv: nn.Conv2d, operations: Operations) -> Function:
    """cuDNN's product, and the bias in channels last, for which PyTorch has no fast way."""

    def forward(x: torch.Tensor) -> torch.Tensor:
        found = conv._conv_forward(x, conv.weight, None)
        return found if conv.bias is None else operations.biased(found, conv.bias)

    return forward


def upsample(module: Any, operations: Operations) -> Function:
    """Twice as large, and the convolution."""

    def forward(hidden_states: torch.Tensor, output_size: Any = None, *args: Any) -> torch.Tensor:
        twice = [2 * side for side in hidden_states.shape[-2:]]
        if args or (output_size is not None and list(output_size) != twice):
            stock: torch.Tensor = Upsample2D.forward(module, hidden_states, output_size, *args)
            return stock
        found: torch.Tensor = module.conv(operations.doubled(hidden_states))
        return found

    return forward
