"""A UNet's blocks on the way up, without putting each picture of the way down beside the own one beforehand.

What comes next is a ResNet block's normalisation, which reads both where they are (`Operations.joined_norm`).
"""

from __future__ import annotations

from typing import Any

import torch

from core_server.pipelines.overrides import Function
from core_server.pipelines.tiers.picture_layers import ResnetForward
from core_server.pipelines.tiers.plain import is_free

_FREE_U = ("s1", "s2", "b1", "b2")
_FOR_ATTENTION = (
    "encoder_hidden_states",
    "cross_attention_kwargs",
    "attention_mask",
    "encoder_attention_mask",
)
_NAMES = {"upsample_size", *_FOR_ATTENTION}


def up_block(module: Any) -> Function:
    """The stock method of a block that `is_plain_up_block`; where it does more than that, itself."""
    attentions = getattr(module, "attentions", None) or [None] * len(module.resnets)

    def forward(
        hidden_states: torch.Tensor,
        res_hidden_states_tuple: tuple[torch.Tensor, ...],
        temb: torch.Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        if args or not kwargs.keys() <= _NAMES or _does_more(module, kwargs):
            given = hidden_states, res_hidden_states_tuple, temb, *args
            stock: torch.Tensor = type(module).forward(module, *given, **kwargs)
            return stock
        named = {name: kwargs.get(name) for name in _FOR_ATTENTION}
        skipped = reversed(res_hidden_states_tuple)
        for resnet, attention, skip in zip(module.resnets, attentions, skipped, strict=False):
            hidden_states = resnet(_joined(resnet, hidden_states, skip), temb)
            if attention is not None:
                hidden_states = attention(hidden_states, **named, return_dict=False)[0]
        for upsampler in module.upsamplers or ():
            hidden_states = upsampler(hidden_states, kwargs.get("upsample_size"))
        return hidden_states

    return forward


def _does_more(module: Any, kwargs: dict[str, Any]) -> bool:
    """Whether the stock method would change the pictures of the way down, keep them for training, or warn."""
    return (
        all(getattr(module, name, None) for name in _FREE_U)
        or (torch.is_grad_enabled() and module.gradient_checkpointing)
        or "scale" in (kwargs.get("cross_attention_kwargs") or {})
    )


def _joined(
    resnet: Any, picture: torch.Tensor, skip: torch.Tensor
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Both for our method; one for any other, and for who watches."""
    is_ours = isinstance(vars(resnet).get("forward"), ResnetForward) and is_free(resnet)
    alike = picture.dtype is skip.dtype and picture.shape[-2:] == skip.shape[-2:]
    return (picture, skip) if is_ours and alike else torch.cat((picture, skip), dim=1)
