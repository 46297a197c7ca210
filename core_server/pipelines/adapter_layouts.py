"""LoRAs in layouts that diffusers itself does not read: the training scripts' (kohya's) for Stable Diffusion 3.

Their names are those of the original checkpoint, flattened; each layer's factors are scaled by alpha / rank.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

Tensors = Mapping[str, torch.Tensor]

_PREFIX = "lora_unet_joint_blocks_"
_LAYERS = {
    "x_block_attn_qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "x_block_attn_proj": ("attn.to_out.0",),
    "x_block_attn2_qkv": ("attn2.to_q", "attn2.to_k", "attn2.to_v"),
    "x_block_attn2_proj": ("attn2.to_out.0",),
    "x_block_mlp_fc1": ("ff.net.0.proj",),
    "x_block_mlp_fc2": ("ff.net.2",),
    "x_block_adaLN_modulation_1": ("norm1.linear",),
    "context_block_attn_qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "context_block_attn_proj": ("attn.to_add_out",),
    "context_block_mlp_fc1": ("ff_context.net.0.proj",),
    "context_block_mlp_fc2": ("ff_context.net.2",),
    "context_block_adaLN_modulation_1": ("norm1_context.linear",),
}
"""Layers of a block; those fused into one are cut into as many equal parts."""
_ENCODERS = {"lora_te1_": "text_encoder", "lora_te2_": "text_encoder_2"}
_ENCODER_LAYER = re.compile(
    r"text_model_encoder_layers_(\d+)_(self_attn|mlp)_(q_proj|k_proj|v_proj|out_proj|fc1|fc2)"
)


def as_diffusers(tensors: Tensors) -> dict[str, torch.Tensor]:
    """The same LoRA in a layout that diffusers reads; one that it reads already is as it was.

    Layers that are none of Stable Diffusion 3's keep their names, so that the loader may refuse them.
    """
    if not any(key.startswith(_PREFIX) for key in tensors):
        return dict(tensors)
    found: dict[str, torch.Tensor] = {}
    for key, tensor in tensors.items():
        layer, _, factor = key.partition(".")
        if factor != "lora_down.weight":
            continue
        names = _names(layer)
        down, up = tensor, tensors[f"{layer}.lora_up.weight"]
        alpha = tensors.get(f"{layer}.alpha")
        scale = 1.0 if alpha is None else float(alpha) / down.shape[0]
        for name, part in zip(names, up.chunk(len(names)), strict=True):
            found[f"{name}.lora_A.weight"] = down
            found[f"{name}.lora_B.weight"] = part * scale
    return found


def _names(layer: str) -> tuple[str, ...]:
    """diffusers' names of what is one layer there."""
    if layer.startswith(_PREFIX):
        number, _, rest = layer.removeprefix(_PREFIX).partition("_")
        if rest in _LAYERS:
            block = f"transformer.transformer_blocks.{number}"
            return tuple(f"{block}.{it}" for it in _LAYERS[rest])
    for prefix, encoder in _ENCODERS.items():
        match = _ENCODER_LAYER.fullmatch(layer.removeprefix(prefix))
        if match and layer.startswith(prefix):
            return (f"{encoder}.text_model.encoder.layers.{'.'.join(match.groups())}",)
    return (layer,)
