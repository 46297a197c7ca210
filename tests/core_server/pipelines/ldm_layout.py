"""Writes a small pipeline in the layout of the original Stable Diffusion 1 checkpoints, to be read back."""

from __future__ import annotations

from typing import Any

import torch

UNET = {
    "time_embedding.linear_1.": "time_embed.0.",
    "time_embedding.linear_2.": "time_embed.2.",
    "conv_in.": "input_blocks.0.0.",
    "conv_norm_out.": "out.0.",
    "conv_out.": "out.2.",
    "mid_block.attentions.0.": "middle_block.1.",
    "mid_block.resnets.0.": "middle_block.0.",
    "mid_block.resnets.1.": "middle_block.2.",
}
for level in range(4):
    for block in range(2):
        place = 3 * level + block + 1
        UNET[f"down_blocks.{level}.resnets.{block}."] = f"input_blocks.{place}.0."
        UNET[f"down_blocks.{level}.attentions.{block}."] = f"input_blocks.{place}.1."
    for block in range(3):
        place = 3 * level + block
        UNET[f"up_blocks.{level}.resnets.{block}."] = f"output_blocks.{place}.0."
        UNET[f"up_blocks.{level}.attentions.{block}."] = f"output_blocks.{place}.1."
    UNET[f"down_blocks.{level}.downsamplers.0.conv."] = f"input_blocks.{3 * level + 3}.0.op."
    after = 1 if level == 0 else 2
    UNET[f"up_blocks.{level}.upsamplers.0."] = f"output_blocks.{3 * level + 2}.{after}."
RESNET = {
    "norm1.": "in_layers.0.",
    "conv1.": "in_layers.2.",
    "norm2.": "out_layers.0.",
    "conv2.": "out_layers.3.",
    "time_emb_proj.": "emb_layers.1.",
    "conv_shortcut.": "skip_connection.",
}
VAE = {"mid_block.attentions.0.": "mid.attn_1.", "conv_norm_out.": "norm_out."}
for level in range(4):
    VAE[f"mid_block.resnets.{level}."] = f"mid.block_{level + 1}."
    VAE[f"down_blocks.{level}.downsamplers.0."] = f"down.{level}.downsample."
    VAE[f"up_blocks.{level}.upsamplers.0."] = f"up.{3 - level}.upsample."
    for block in range(3):
        VAE[f"down_blocks.{level}.resnets.{block}."] = f"down.{level}.block.{block}."
        VAE[f"up_blocks.{level}.resnets.{block}."] = f"up.{3 - level}.block.{block}."
ATTENTION = {
    "group_norm.": "norm.",
    "to_q.": "q.",
    "to_k.": "k.",
    "to_v.": "v.",
    "to_out.0.": "proj_out.",
}


def _renamed(key: str, names: dict[str, str]) -> str:
    for ours, theirs in names.items():
        key = key.replace(ours, theirs)
    return key


def checkpoint(pipeline: Any) -> dict[str, torch.Tensor]:
    """All tensors of a pipeline under their original names."""
    tensors = {}
    for key, tensor in pipeline.unet.state_dict().items():
        name = _renamed(key, UNET)
        if ".resnets." in key:
            name = _renamed(name, RESNET)
        tensors[f"model.diffusion_model.{name}"] = tensor
    for key, tensor in pipeline.vae.state_dict().items():
        name = _renamed(key, VAE).replace("conv_shortcut.", "nin_shortcut.")
        if ".attentions." in key:
            name = _renamed(name, ATTENTION)
            if key.endswith("weight") and "group_norm" not in key:
                tensors[f"first_stage_model.{name}"] = tensor[:, :, None, None].contiguous()
                continue
        tensors[f"first_stage_model.{name}"] = tensor
    for key, tensor in pipeline.text_encoder.state_dict().items():
        name = key.removeprefix("text_model.")
        tensors[f"cond_stage_model.transformer.text_model.{name}"] = tensor
    return {name: tensor.contiguous() for name, tensor in tensors.items()}
