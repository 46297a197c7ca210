"""The blocks of a UNet as one function each, for a processor: the stock arithmetic without the stock's many calls.

Source: diffusers' ResnetBlock2D, Transformer2DModel, BasicTransformerBlock and AttnProcessor2_0, as they compute where
`processor_unet.fits` holds. Norms add up in float32 whatever the layers compute in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.transformers.transformer_2d import Transformer2DModelOutput
from torch.nn import functional

from core_server.pipelines.tiers.packed import PackedConv

Function = Callable[..., Any]
Linear = tuple[torch.Tensor, torch.Tensor | None]


def residual_block(block: Any, dtype: torch.dtype) -> Function:
    """ResnetBlock2D.forward. The timestep's part stays in its own type, float32."""
    first, second = PackedConv(block.conv1, dtype), PackedConv(block.conv2, dtype)
    shortcut = None if block.conv_shortcut is None else PackedConv(block.conv_shortcut, dtype)
    norm1, norm2, time = block.norm1, block.norm2, block.time_emb_proj

    def forward(
        input_tensor: torch.Tensor, temb: torch.Tensor | None, *_: Any, **__: Any
    ) -> torch.Tensor:
        x = input_tensor.to(dtype)
        h = first(functional.silu(_group_norm(x, norm1), inplace=True))
        if time is not None and temb is not None:
            step = temb if block.skip_time_act else functional.silu(temb)
            step = functional.linear(step, time.weight, time.bias)
            h += step.to(dtype)[:, :, None, None]
        h = second(functional.silu(_group_norm(h, norm2), inplace=True))
        h += x if shortcut is None else shortcut(x)
        return h

    return forward


def transformer(module: Any, dtype: torch.dtype) -> Function:
    """Transformer2DModel.forward over a picture. Masks and arguments for attention are left to the stock method."""
    linear = module.use_linear_projection
    inside = _linear(dtype, module.proj_in) if linear else _point(dtype, module.proj_in)
    outside = _linear(dtype, module.proj_out) if linear else _point(dtype, module.proj_out)
    blocks = [_transformer_block(block, dtype) for block in module.transformer_blocks]
    stock = type(module).forward

    def forward(  # noqa: PLR0917  the stock method's
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        timestep: Any = None,
        added_cond_kwargs: Any = None,
        class_labels: Any = None,
        cross_attention_kwargs: Any = None,
        attention_mask: Any = None,
        encoder_attention_mask: Any = None,
        return_dict: bool = True,
    ) -> Any:
        if cross_attention_kwargs or not (attention_mask is None is encoder_attention_mask):
            return stock(
                module,
                hidden_states.float(),
                encoder_hidden_states,
                timestep,
                added_cond_kwargs,
                class_labels,
                cross_attention_kwargs,
                attention_mask,
                encoder_attention_mask,
                return_dict,
            )
        x = hidden_states.to(dtype)
        batch, _, height, width = x.shape
        tokens = _group_norm(x, module.norm).permute(0, 2, 3, 1).reshape(batch, height * width, -1)
        tokens = functional.linear(tokens, *inside)
        words = encoder_hidden_states.to(dtype)
        for block in blocks:
            tokens = block(tokens, words)
        tokens = functional.linear(tokens, *outside)
        result = tokens.view(batch, height, width, -1).permute(0, 3, 1, 2) + x
        return Transformer2DModelOutput(sample=result) if return_dict else (result,)

    return forward


def _transformer_block(
    block: Any, dtype: torch.dtype
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    own, cross, feed = block.attn1, block.attn2, block.ff.net
    own_qkv = _linear(dtype, own.to_q, own.to_k, own.to_v)
    cross_q, cross_kv = _linear(dtype, cross.to_q), _linear(dtype, cross.to_k, cross.to_v)
    own_out, cross_out = _linear(dtype, own.to_out[0]), _linear(dtype, cross.to_out[0])
    gated, back = _linear(dtype, feed[0].proj), _linear(dtype, feed[2])

    def forward(x: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        q, k, v = _heads(functional.linear(_layer_norm(x, block.norm1), *own_qkv), 3, own.heads)
        x = x + functional.linear(_attended(q, k, v), *own_out)
        (q,) = _heads(functional.linear(_layer_norm(x, block.norm2), *cross_q), 1, cross.heads)
        k, v = _heads(functional.linear(words, *cross_kv), 2, cross.heads)
        x += functional.linear(_attended(q, k, v), *cross_out)
        value, gate = functional.linear(_layer_norm(x, block.norm3), *gated).chunk(2, dim=-1)
        x += functional.linear(value * functional.gelu(gate), *back)
        return x

    return forward


def _heads(x: torch.Tensor, parts: int, heads: int) -> tuple[torch.Tensor, ...]:
    """(batch, tokens, parts * channels) to `parts` of (batch, heads, tokens, channels of a head)."""
    batch, tokens, _ = x.shape
    return x.view(batch, tokens, parts, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)


def _attended(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    found = functional.scaled_dot_product_attention(q, k, v)
    return found.transpose(1, 2).flatten(2)


def _linear(dtype: torch.dtype, *layers: Any) -> Linear:
    """Several layers that read the same, as one."""
    weight = torch.cat([layer.weight for layer in layers]).to(dtype)
    if layers[0].bias is None:
        return weight, None
    return weight, torch.cat([layer.bias for layer in layers]).to(dtype)


def _point(dtype: torch.dtype, conv: Any) -> Linear:
    bias = None if conv.bias is None else conv.bias.to(dtype)
    return conv.weight.flatten(1).to(dtype), bias


def _group_norm(x: torch.Tensor, layer: Any) -> torch.Tensor:
    return functional.group_norm(x, layer.num_groups, layer.weight, layer.bias, layer.eps)


def _layer_norm(x: torch.Tensor, layer: Any) -> torch.Tensor:
    return functional.layer_norm(x, layer.normalized_shape, layer.weight, layer.bias, layer.eps)
