"""The attention of an autoencoder: one head, as wide as the picture has channels, over all of its px."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import nn

from core_server.pipelines.overrides import Function
from core_server.pipelines.tiers.operations import Operations
from core_server.pipelines.tiers.plain import is_free, is_plain

_ABSENT = ("spatial_norm", "norm_q", "norm_k", "norm_cross", "added_kv_proj_dim")


def is_single_head(attention: Any) -> bool:
    """Whether a module is exactly the stock attention of Stable Diffusion's autoencoders."""
    return (
        type(attention) is Attention
        and type(attention.processor) is AttnProcessor2_0
        and is_free(attention)
        and attention.heads == 1
        and attention.residual_connection
        and not attention.is_cross_attention
        and not any(getattr(attention, name, None) for name in _ABSENT)
        and float(attention.rescale_output_factor) == 1.0
        and not attention.fused_projections
        and not attention.training
        and is_plain(attention.group_norm, nn.GroupNorm)
        and all(is_plain(it, nn.Linear) for it in _linears(attention))
    )


def _linears(attention: Any) -> tuple[Any, ...]:
    return attention.to_q, attention.to_k, attention.to_v, attention.to_out[0]


def single_head(attention: Any, operations: Operations) -> Function:
    """As the stock method; a picture in channels last is a list of tokens as it is."""

    def forward(hidden_states: torch.Tensor, *args: Any, **others: Any) -> torch.Tensor:
        if hidden_states.ndim != 4 or args or any(it is not None for it in others.values()):
            stock: torch.Tensor = Attention.forward(attention, hidden_states, *args, **others)
            return stock
        norm = attention.group_norm
        given = norm.num_groups, norm.weight, norm.bias, norm.eps
        normed = operations.group_norm(hidden_states, *given).permute(0, 2, 3, 1)
        tokens = normed.flatten(1, 2)
        seen = zip(*(linear(tokens) for linear in _linears(attention)[:3]), strict=True)
        found = torch.stack([operations.single_head(*picture) for picture in seen])
        out = attention.to_out[0](found).view_as(normed).permute(0, 3, 1, 2)
        return operations.added_up(hidden_states, out, None)

    return forward
