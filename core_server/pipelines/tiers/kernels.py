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
from torch.nn import functional

from core_server.pipelines.overrides import Function, Overrides
from core_server.pipelines.tiers.operations import Operations
from core_server.pipelines.tiers.prompt_features import PromptFeatures
from core_server.pipelines.tiers.transformer_blocks import (
    is_plain_transformer,
    transformer_block,
)


class Kernels(Overrides):
    """Our kernels for these modules as they are now: built once, put on for each picture.

    What an adapter adds to a model later needs another one.
    """

    def __init__(
        self, operations: Operations, *modules: nn.Module, prompts: PromptFeatures | None = None
    ) -> None:
        """prompts: of the UNet among the modules, if there is one."""
        super().__init__()
        prompts = prompts or PromptFeatures()
        found = [module for root in modules for module in root.modules()]
        for module in found:
            for replacement in _replacements(module, operations, prompts):
                self.add(*replacement)
        blocks: list[Any] = [it for it in found if _is_free_transformer(it)]
        prompts.layers = tuple(it.attn2 for it in blocks)


def channels_last(*modules: nn.Module) -> None:
    """Lays kernels out as the fast convolutions want them, once and for all. No value changes."""
    for module in modules:
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _replacements(
    module: nn.Module, operations: Operations, prompts: PromptFeatures
) -> list[tuple[nn.Module, str, Function]]:
    if not is_free(module):
        return []
    forward: Function | None = None
    if type(module) is Transformer2DModel and module.is_input_continuous:
        return [
            (module, "_operate_on_continuous_inputs", _input(module)),
            (module, "_get_output_for_continuous_inputs", _output(module, operations)),
        ]
    if isinstance(module, ResnetBlock2D) and is_plain_block(module):
        forward = _block(module, operations)
    elif type(module) is nn.GroupNorm and module.affine:
        forward = _norm(module, operations)
    elif type(module) is GEGLU:
        forward = _geglu(module, operations)
    elif _is_free_transformer(module):
        forward = transformer_block(module, operations, prompts)
    return [] if forward is None else [(module, "forward", forward)]


def _is_free_transformer(module: nn.Module) -> bool:
    return is_plain_transformer(module) and all(
        is_free(part) and "forward" not in vars(part) for part in module.modules()
    )


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
        if block.time_emb_proj is not None and temb is not None:
            added = _time(block, temb, added, operations)
        elif added is not None:
            added = added[None]
        hidden, bias = _without_bias(block.conv2, norm(hidden, block.norm2, added))
        shortcut = input_tensor
        if block.conv_shortcut is not None:
            shortcut = _pointwise(block.conv_shortcut, input_tensor)
        return operations.added_up(shortcut, hidden, bias)

    return forward


def _time(
    block: Any, temb: torch.Tensor, bias: torch.Tensor | None, operations: Operations
) -> torch.Tensor:
    """What a block adds for the timestep, and `bias`; (batch, channels)."""
    linear = block.time_emb_proj
    if _is_plain(linear, nn.Linear) and temb.ndim == 2 and not block.skip_time_act:
        return operations.timed(temb, linear.weight, linear.bias, bias)
    time: torch.Tensor = linear(temb if block.skip_time_act else block.nonlinearity(temb))
    return time if bias is None else time + bias


def _is_plain(layer: Any, kind: type[nn.Module]) -> bool:
    return type(layer) is kind and is_free(layer) and "forward" not in vars(layer)


def _without_bias(conv: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A convolution, and the bias that is still to be added to it."""
    if not _is_plain(conv, nn.Conv2d):
        y: torch.Tensor = conv(x)
        return y, None
    return conv._conv_forward(x, conv.weight, None), conv.bias


def _is_pointwise(conv: Any) -> bool:
    return (
        _is_plain(conv, nn.Conv2d)
        and conv.kernel_size == conv.stride == (1, 1)
        and conv.padding in ((0, 0), "valid")
        and conv.groups == 1
    )


def _pointwise(conv: Any, x: torch.Tensor) -> torch.Tensor:
    """A convolution of single pixels is a matrix product, which has its bias for nothing."""
    if not _is_pointwise(conv):
        y: torch.Tensor = conv(x)
        return y
    tokens = functional.linear(x.permute(0, 2, 3, 1), conv.weight.flatten(1), conv.bias)
    return tokens.permute(0, 3, 1, 2)


def _norm(layer: nn.GroupNorm, operations: Operations) -> Function:
    def forward(x: torch.Tensor) -> torch.Tensor:
        if x.ndim != 4:
            return nn.GroupNorm.forward(layer, x)
        return operations.group_norm(x, layer.num_groups, layer.weight, layer.bias, layer.eps)

    return forward


def _geglu(layer: Any, operations: Operations) -> Function:
    return lambda hidden_states, *_, **__: operations.geglu(layer.proj(hidden_states))


def _input(module: Any) -> Function:
    """As the stock method; a picture in channels last is a list of tokens as it is."""

    def tokens_of(hidden_states: torch.Tensor) -> tuple[torch.Tensor, int]:
        hidden = module.norm(hidden_states)
        if not module.use_linear_projection:
            hidden = _pointwise(module.proj_in, hidden)
        tokens = hidden.permute(0, 2, 3, 1).flatten(1, 2)
        width = tokens.shape[-1]
        return (module.proj_in(tokens) if module.use_linear_projection else tokens), width

    return tokens_of


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
        hidden = _pointwise(module.proj_out, picture(hidden_states))
        return operations.added_up(residual, hidden, None)

    return output
