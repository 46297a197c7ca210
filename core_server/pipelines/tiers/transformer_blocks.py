"""A UNet's transformer block with its sums inside the matrix products.

The stock block reads and writes the tokens nine times beside its products: three normalisations, three sums, three
divisions by 1. Here a normalisation also lays out the tokens with the next product's bias already added, and that
product adds itself to them (the C of "alpha A B + beta C").
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from diffusers.models.activations import GEGLU
from diffusers.models.attention import BasicTransformerBlock, FeedForward
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from core_server.pipelines.overrides import Function
from core_server.pipelines.tiers.attention import attended
from core_server.pipelines.tiers.operations import Operations
from core_server.pipelines.tiers.prompt_features import PromptFeatures

_UNUSUAL = ("attention_mask", "encoder_attention_mask", "cross_attention_kwargs")
"""What a call goes the stock way with."""


def is_plain_transformer(block: Any) -> bool:
    """Whether the block is exactly the stock one of Stable Diffusion's UNets, its layers included but for LoRAs.

    Who else has a hand in it is not asked here.
    """
    return (
        type(block) is BasicTransformerBlock
        and block.norm_type == "layer_norm"
        and block.pos_embed is None
        and not block.only_cross_attention
        and block._chunk_size is None
        and not hasattr(block, "fuser")
        and not block.training
        and all(_is_plain_norm(norm) for norm in (block.norm1, block.norm2, block.norm3))
        and all(_is_plain_attention(attention) for attention in (block.attn1, block.attn2))
        and not block.attn1.is_cross_attention
        and block.attn2.is_cross_attention
        and _is_plain_feed_forward(block.ff)
    )


def _is_plain_norm(norm: Any) -> bool:
    return (
        type(norm) is nn.LayerNorm
        and norm.weight is not None
        and norm.bias is not None
        and len(norm.normalized_shape) == 1
    )


def _is_plain_attention(attention: Any) -> bool:
    if type(attention) is not Attention or type(attention.processor) is not AttnProcessor2_0:
        return False
    absent = ("spatial_norm", "group_norm", "norm_q", "norm_k", "norm_cross", "added_kv_proj_dim")
    linears = (attention.to_q, attention.to_k, attention.to_v, attention.to_out[0])
    return (
        not any(getattr(attention, name) for name in absent)
        and not attention.residual_connection
        and not attention.fused_projections
        and float(attention.rescale_output_factor) == 1.0
        and attention.inner_kv_dim == attention.inner_dim
        and all(_is_product(linear) for linear in linears)
    )


def _is_product(layer: Any) -> bool:
    """A matrix product, or one that a LoRA is wrapped around."""
    return type(layer) is nn.Linear or isinstance(layer, BaseTunerLayer)


def _is_plain_feed_forward(ff: Any) -> bool:
    if type(ff) is not FeedForward:
        return False
    first, _, last, *rest = ff.net
    return (
        type(first) is GEGLU
        and _is_product(first.proj)
        and _is_product(last)
        and all(type(it) is nn.Dropout for it in (ff.net[1], *rest))
    )


def reads_prompt_alone(attention: Any) -> bool:
    """Whether keys and values are those of the stock layers, whatever acts elsewhere."""
    return type(attention.to_k) is nn.Linear and type(attention.to_v) is nn.Linear


def transformer_block(block: Any, operations: Operations, prompts: PromptFeatures) -> Function:
    """The block's `forward`. Calls with what Stable Diffusion's UNets never pass go the stock way."""

    both = (block.attn1, block.attn2)

    def normed(x: torch.Tensor, norm: nn.LayerNorm, following: Any) -> Iterator[torch.Tensor]:
        bias = following.bias if type(following) is nn.Linear else None
        return iter(operations.layer_norm(x, norm.weight, norm.bias, norm.eps, bias))

    def forward(
        hidden_states: torch.Tensor,
        *args: Any,
        encoder_hidden_states: Any = None,
        **others: Any,
    ) -> torch.Tensor:
        unusual = hidden_states.ndim != 3 or not isinstance(encoder_hidden_states, torch.Tensor)
        # An IP-Adapter may have come since the block was looked at.
        unusual = unusual or any(type(it.processor) is not AttnProcessor2_0 for it in both)
        if unusual or args or any(others.get(name) is not None for name in _UNUSUAL):
            given = {"encoder_hidden_states": encoder_hidden_states, **others}
            found: torch.Tensor = BasicTransformerBlock.forward(
                block, hidden_states, *args, **given
            )
            return found
        (one, two), ff = both, block.ff.net
        x, total = normed(hidden_states, block.norm1, one.to_out[0])
        _add(total, _attended(one, x, one.to_k(x), one.to_v(x)), one.to_out[0])
        x, total = normed(total, block.norm2, two.to_out[0])
        _add(total, _attended(two, x, *prompts.of(two, encoder_hidden_states)), two.to_out[0])
        x, total = normed(total, block.norm3, ff[2])
        _add(total, operations.geglu(ff[0].proj(x)), ff[2])
        return total

    return forward


def _attended(
    attention: Any, x: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> torch.Tensor:
    """Scaled dot-product attention of x, before the last projection; (batch, tokens, channels)."""

    def by_heads(tokens: torch.Tensor) -> torch.Tensor:
        return tokens.view(tokens.shape[0], tokens.shape[1], attention.heads, -1).transpose(1, 2)

    found = attended(by_heads(attention.to_q(x)), by_heads(key), by_heads(value))
    return found.transpose(1, 2).flatten(2)


def _add(total: torch.Tensor, x: torch.Tensor, layer: Any) -> None:
    """total += layer(x), whose bias is there already if it is a plain product. total: (batch, tokens, channels)."""
    if type(layer) is not nn.Linear:
        total.add_(layer(x))
        return
    rows = total.view(-1, total.shape[-1])
    rows.addmm_(x.reshape(-1, x.shape[-1]), layer.weight.t())
