"""A UNet's transformer block whose products are in 8 bit: what lies between two of them is done in one pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from core_server.pipelines.tiers.plain import is_free
from core_server.pipelines.tiers.prompt_features import PromptFeatures
from core_server.pipelines.tiers.scaled_rows import RowOperations, Rows
from core_server.pipelines.tiers.transformer_blocks import is_plain_transformer

Weight = Callable[..., Rows]
"""The weights of one or several layers with the same input in 8 bit, one below the other."""


def is_plain_block(block: Any, rows: RowOperations) -> bool:
    """Whether `block_forward` computes what the block computes: as in Stable Diffusion, nobody else's hand in it."""
    if not is_plain_transformer(block):
        return False
    if not all(is_free(it) and not isinstance(it, BaseTunerLayer) for it in block.modules()):
        return False  # a LoRA's layers call those that they are wrapped around
    attentions = (block.attn1, block.attn2)
    if any(it.bias is not None for one in attentions for it in (one.to_q, one.to_k, one.to_v)):
        return False
    return all(fits(it, rows) for it in block.modules() if isinstance(it, nn.Linear))


def fits(layer: nn.Linear, rows: RowOperations) -> bool:
    """Whether the layer's product can be in 8 bit."""
    return layer.in_features % rows.multiple == 0 and layer.out_features % rows.multiple == 0


def block_forward(
    block: Any, rows: RowOperations, weight: Weight, prompts: PromptFeatures
) -> Callable[..., Any]:
    """The stock block's arithmetic with 8-bit products. Attention, and what few tokens need, stay in half precision.

    prompts: keys and values of the prompt, where they are worked out once.
    """

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
            or hidden_states.ndim != 3
            or hidden_states.shape[1] < rows.least_tokens
            # An IP-Adapter may have come since the block was looked at.
            or any(type(it.processor) is not AttnProcessor2_0 for it in (block.attn1, block.attn2))
        )
        if unusual or encoder_hidden_states is None:
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
        key, value = prompts.of(second, encoder_hidden_states)
        found = attended(second, query, key, value)
        x, normed = rows.normed(x, found, second.to_out[0].bias, block.norm3)
        gated = rows.gated(product(normed, ff[0].proj), ff[0].proj.bias)
        last = rows.product(gated, weight(ff[2]), ff[2].bias, dtype)
        return (x + last).view_as(hidden_states)

    return forward
