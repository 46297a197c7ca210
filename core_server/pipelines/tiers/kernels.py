"""Puts our kernels in the place of layers of a UNet or an autoencoder, for the time of one picture.

Only what is exactly the stock layer is replaced: layers that an adapter wraps, that an offloading hook watches, or that
are built in another way go on as they are. Convolutions are still called by their own method, so that tiling
(`pipelines.seamless`) acts on them as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.activations import GEGLU
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import nn

from core_server.pipelines.overrides import Function, Overrides
from core_server.pipelines.tiers.operations import Operations
from core_server.pipelines.tiers.picture_layers import (
    ResnetForward,
    convolution,
    geglu,
    norm,
    tokens_in,
    tokens_out,
    upsample,
)
from core_server.pipelines.tiers.plain import (
    is_free,
    is_plain_block,
    is_plain_downsample,
    is_plain_up_block,
    is_plain_upsample,
)
from core_server.pipelines.tiers.prompt_features import PromptFeatures
from core_server.pipelines.tiers.side_branch import Branch, branch_of
from core_server.pipelines.tiers.single_head import is_single_head, single_head
from core_server.pipelines.tiers.time_embedding import early_time
from core_server.pipelines.tiers.time_shares import TimeShares
from core_server.pipelines.tiers.transformer_blocks import (
    is_plain_transformer,
    reads_prompt_alone,
    transformer_block,
)
from core_server.pipelines.tiers.up_blocks import up_block

__all__ = ["Kernels", "channels_last", "is_free", "is_plain_block"]


class Kernels(Overrides):
    """Our kernels for these modules as they are now: built once, put on for each picture.

    What an adapter adds to a model later needs another one.
    """

    def __init__(
        self,
        operations: Operations,
        *modules: nn.Module,
        prompts: PromptFeatures | None = None,
        branch: Callable[[torch.device], Branch] = branch_of,
    ) -> None:
        """prompts: of the UNet among the modules, if there is one. branch: of a device, for what needs not wait."""
        super().__init__()
        prompts = prompts or PromptFeatures()
        found = [module for root in modules for module in root.modules()]
        resnets = [it for it in found if isinstance(it, ResnetBlock2D) and _is_free_block(it)]
        shares = TimeShares(operations, resnets, branch)
        for module in found:
            for replacement in _replacements(module, operations, prompts, shares):
                self.add(*replacement)
        for network in modules:
            for replacement in early_time(network, shares):
                self.add(*replacement)
        blocks: list[Any] = [it for it in found if _is_free_transformer(it)]
        prompts.layers = tuple(it.attn2 for it in blocks if reads_prompt_alone(it.attn2))


def channels_last(*modules: nn.Module) -> None:
    """Lays kernels out as the fast convolutions want them, once and for all. No value changes."""
    for module in modules:
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _replacements(
    module: Any, operations: Operations, prompts: PromptFeatures, shares: TimeShares
) -> list[tuple[nn.Module, str, Function]]:
    if not is_free(module):
        return []
    forward: Function | None = None
    if is_plain_downsample(module) or is_plain_upsample(module):
        found = [(module.conv, "forward", convolution(module.conv, operations))]
        if is_plain_upsample(module):
            found.append((module, "forward", upsample(module, operations)))
        return found
    if type(module) is Transformer2DModel and module.is_input_continuous:
        return [
            (module, "_operate_on_continuous_inputs", tokens_in(module)),
            (module, "_get_output_for_continuous_inputs", tokens_out(module, operations)),
        ]
    if isinstance(module, ResnetBlock2D) and _is_free_block(module):
        forward = ResnetForward(module, operations, shares)
    elif is_plain_up_block(module):
        forward = up_block(module)
    elif type(module) is nn.GroupNorm and module.affine:
        forward = norm(module, operations)
    elif type(module) is GEGLU:
        forward = geglu(module, operations)
    elif is_single_head(module):
        forward = single_head(module, operations)
    elif _is_free_transformer(module):
        forward = transformer_block(module, operations, prompts)
    return [] if forward is None else [(module, "forward", forward)]


def _is_free_block(block: nn.Module) -> bool:
    return is_free(block) and is_plain_block(block)


def _is_free_transformer(module: nn.Module) -> bool:
    return is_plain_transformer(module) and all(
        is_free(part) and "forward" not in vars(part) for part in module.modules()
    )
