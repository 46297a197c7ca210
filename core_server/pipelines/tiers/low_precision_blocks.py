"""A UNet's transformer block whose products are in 8 bit: what lies between two of them is done in one pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.activations import GEGLU
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from core_server.pipelines.tiers.kernels import is_free
from core_server.pipelines.tiers.scaled_rows import RowOperations, Rows

Weight = Callable[..., Rows]
"""The weights of one or several layers with the same input in 8 bit, one below the other."""


def is_plain_block(block: nn.Module) -> bool:
    """Whether `block_forward` computes what the block computes: as in Stable Diffusion, nobody else's hand in it."""
    if type(block) is not BasicTransformerBlock or not is_free(block) or block.training:
        return False
    if block.norm_type != "layer_norm" or block.pos_embed is not None or block.only_cross_attention:
        return False
    norms = (block.norm1, block.norm2, block.norm3)
    if any(type(it) is not nn.LayerNorm or it.weight is None or it.bias is None for it in norms):
        return False
    if block._chunk_size is not None or type(block.ff.net[0]) is not GEGLU:
        return False
    layers = (*_layers(block.attn1), *_layers(block.attn2), block.ff.net[0].proj, block.ff.net[2])
    plain = all(type(it) is nn.Linear and is_free(it) for it in layers) and len(block.ff.net) == 3
    return plain and _is_plain(block.attn1) and _is_plain(block.attn2)


def _layers(attention: Any) -> tuple[nn.Module, ...]:
    found = attention.to_q, attention.to_k, attention.to_v, attention.to_out[0]
    return tuple(it for it in found if it is not None)


def _is_plain(attention: Any) -> bool:
    return (
        type(attention) is Attention
        and type(attention.processor) in (AttnProcessor, AttnProcessor2_0)
        and attention.to_q.bias is None
        and attention.to_k.bias is None
        and attention.to_v.bias is None
        and attention.heads * (attention.to_q.out_features // attention.heads)
        == attention.to_k.out_features
        and attention.rescale_output_factor == 1
        and not attention.residual_connection
        and not attention.norm_cross
        and all(
            getattr(attention, name) is None
            for name in ("group_norm", "spatial_norm", "norm_q", "norm_k")
        )
    )


def block_forward(block: Any, rows: RowOperations, weight: Weight) -> Callable[..., Any]:
    """The stock block's arithmetic with 8-bit products. Attention, and what few tokens need, stay in half precision."""

    def forward(  # noqa: PLR0917  the stock block's
        hidden_states: torch.Tensor,
        attention_mask: Any = None,
        encoder_hidden_states: torch.Tensor | None = None,
        encoder_attention_mask: Any = None,
        timestep: Any = None,
        cross_attention_kwargs: dict[str, Any] | None = None,
        class_labels: Any = None,
        added_cond_kwargs: Any = None,
    ) -> torch.Tensor:
        unusual = (
            attention_mask is not None
            or encoder_attention_mask is not None
            or bool(cross_attention_kwargs)
            or encoder_hidden_states is None
            or hidden_states.ndim != 3
            or hidden_states.shape[1] < rows.least_tokens
        )
        if unusual:
            stock: torch.Tensor = type(block).forward(
                block, hidden_states, attention_mask, encoder_hidden_states,
                encoder_attention_mask, timestep, cross_attention_kwargs, class_labels,
                added_cond_kwargs,
            )  # fmt: skip
            return stock
        first, second, ff = block.attn1, block.attn2, block.ff.net
        batch, _, width = hidden_states.shape
        dtype = hidden_states.dtype

        def product(x: Rows, *layers: nn.Module) -> torch.Tensor:
            return rows.product(x, weight(*layers), None, dtype)

        def attended(
            attention: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
        ) -> torch.Tensor:
            q, k, v = (
                it.view(batch, it.shape[1], attention.heads, -1).transpose(1, 2)
                for it in (query, key, value)
            )
            found = scaled_dot_product_attention(q, k, v).transpose(1, 2)
            inner = rows.scaled(found.reshape(-1, query.shape[-1]))
            return product(inner, attention.to_out[0])

        x, normed = rows.normed(
            hidden_states.reshape(-1, width).contiguous(), None, None, block.norm1
        )
        together = product(normed, first.to_q, first.to_k, first.to_v).view(batch, -1, 3 * width)
        found = attended(first, *together.chunk(3, dim=-1))
        x, normed = rows.normed(x, found, first.to_out[0].bias, block.norm2)
        query = product(normed, second.to_q).view(batch, -1, second.to_q.out_features)
        key, value = second.to_k(encoder_hidden_states), second.to_v(encoder_hidden_states)
        found = attended(second, query, key, value)
        x, normed = rows.normed(x, found, second.to_out[0].bias, block.norm3)
        gated = rows.gated(product(normed, ff[0].proj), ff[0].proj.bias)
        last = rows.product(gated, weight(ff[2]), ff[2].bias, dtype)
        return (x + last).view_as(hidden_states)

    return forward
