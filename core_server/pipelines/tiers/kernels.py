"""Puts our kernels in the place of layers of a UNet or an autoencoder, for the time of one picture.

Only what is exactly the stock layer is replaced: layers that an adapter wraps, that an offloading hook watches, or that
are built in another way go on as they are. Convolutions are still called by their own method, so that tiling
(`pipelines.seamless`) acts on them as ever.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.activations import GEGLU
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import nn

from core_server.pipelines.overrides import Function, Overrides
from core_server.pipelines.tiers.operations import Operations


class Kernels(Overrides):
    """Our kernels for these modules as they are now: built once, put on for each picture.

    What an adapter adds to a model later needs another one.
    """

    def __init__(self, operations: Operations, *modules: nn.Module) -> None:
        super().__init__()
        for root in modules:
            for module in root.modules():
                for replacement in _replacements(module, operations):
                    self.add(*replacement)


def channels_last(*modules: nn.Module) -> None:
    """Lays kernels out as the fast convolutions want them, once and for all. No value changes."""
    for module in modules:
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _replacements(
    module: nn.Module, operations: Operations
) -> list[tuple[nn.Module, str, Function]]:
    if not is_free(module):
        return []
    if isinstance(module, ResnetBlock2D) and is_plain_block(module):
        return [(module, "forward", _block(module, operations))]
    if type(module) is nn.GroupNorm and module.affine:
        return [(module, "forward", _norm(module, operations))]
    if type(module) is GEGLU:
        return [(module, "forward", _geglu(module, operations))]
    if type(module) is Transformer2DModel and module.is_input_continuous:
        method = "_get_output_for_continuous_inputs"
        return [(module, method, _output(module, operations))]
    return []


def is_free(module: nn.Module) -> bool:
    """Whether nobody else has a hand in how the module is called."""
    return not (
        module._forward_hooks
        or module._forward_pre_hooks
        or hasattr(module, "_hf_hook")
        or hasattr(module, "_diffusers_hook")
    )


def is_plain_block(block: Any) -> bool:
    return (
        block.time_embedding_norm == "default"
        and block.upsample is None
        and block.downsample is None
        and isinstance(block.nonlinearity, nn.SiLU)
        and type(block.norm1) is nn.GroupNorm
        and type(block.norm2) is nn.GroupNorm
        and float(block.output_scale_factor) == 1.0
        and not block.training
    )


def _block(block: Any, operations: Operations) -> Function:
    """The stock block's arithmetic, with biases and the timestep's embedding added where they are read next."""

    def norm(x: torch.Tensor, layer: nn.GroupNorm, added: torch.Tensor | None) -> torch.Tensor:
        return operations.group_norm(
            x, layer.num_groups, layer.weight, layer.bias, layer.eps, silu=True, added=added
        )

    def forward(
        input_tensor: torch.Tensor, temb: torch.Tensor | None, *_: Any, **__: Any
    ) -> torch.Tensor:
        hidden, added = _without_bias(block.conv1, norm(input_tensor, block.norm1, None))
        if added is not None:
            added = added[None]
        if block.time_emb_proj is not None and temb is not None:
            time = temb if block.skip_time_act else block.nonlinearity(temb)
            time = block.time_emb_proj(time)
            added = time if added is None else time + added
        hidden, bias = _without_bias(block.conv2, norm(hidden, block.norm2, added))
        shortcut = input_tensor
        if block.conv_shortcut is not None:
            shortcut, more = _without_bias(block.conv_shortcut, input_tensor)
            if more is not None:
                bias = more if bias is None else bias + more
        return operations.added_up(shortcut, hidden, bias)

    return forward


def _without_bias(conv: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A convolution, and the bias that is still to be added to it."""
    if type(conv) is not nn.Conv2d or not is_free(conv) or "forward" in vars(conv):
        y: torch.Tensor = conv(x)
        return y, None
    return conv._conv_forward(x, conv.weight, None), conv.bias


def _norm(layer: nn.GroupNorm, operations: Operations) -> Function:
    def forward(x: torch.Tensor) -> torch.Tensor:
        if x.ndim != 4:
            return nn.GroupNorm.forward(layer, x)
        return operations.group_norm(x, layer.num_groups, layer.weight, layer.bias, layer.eps)

    return forward


def _geglu(layer: Any, operations: Operations) -> Function:
    return lambda hidden_states, *_, **__: operations.geglu(layer.proj(hidden_states))


def _output(module: Any, operations: Operations) -> Function:
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
        hidden, bias = _without_bias(module.proj_out, picture(hidden_states))
        return operations.added_up(residual, hidden, bias)

    return output
