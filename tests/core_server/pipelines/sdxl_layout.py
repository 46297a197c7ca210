"""Writes a small SDXL pipeline in the layout of the original checkpoints, to be read back."""

from __future__ import annotations

from typing import Any

import torch

from tests.core_server.pipelines.ldm_layout import checkpoint

_OPEN_CLIP = {
    "encoder.layers.": "transformer.resblocks.",
    "layer_norm1.": "ln_1.",
    "layer_norm2.": "ln_2.",
    "mlp.fc1.": "mlp.c_fc.",
    "mlp.fc2.": "mlp.c_proj.",
    "self_attn.out_proj.": "attn.out_proj.",
    "final_layer_norm.": "ln_final.",
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
}


def sdxl_checkpoint(pipeline: Any) -> dict[str, torch.Tensor]:
    """All tensors of a pipeline under their original names."""
    tensors = {}
    for key, tensor in checkpoint(pipeline).items():
        name = key.replace("cond_stage_model.", "conditioner.embedders.0.")
        for ours, theirs in (
            ("add_embedding.linear_1.", "label_emb.0.0."),
            ("add_embedding.linear_2.", "label_emb.0.2."),
            # Its first levels have attention, so that both upsamplers come third.
            ("output_blocks.2.1.conv.", "output_blocks.2.2.conv."),
        ):
            name = name.replace(ours, theirs)
        tensors[name] = tensor
    for key, tensor in open_clip(pipeline.text_encoder_2).items():
        tensors[f"conditioner.embedders.1.model.{key}"] = tensor
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def open_clip(encoder: Any) -> dict[str, torch.Tensor]:
    """A CLIP text encoder with OpenCLIP's names: fused attention inputs, a transposed projection."""
    tensors = {}
    state = {key.removeprefix("text_model."): value for key, value in encoder.state_dict().items()}
    for key, tensor in state.items():
        if key == "text_projection.weight":
            tensors["text_projection"] = tensor.T
        elif ".self_attn.q_proj." in key:
            parts = [state[key.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            place, kind = key.split(".self_attn.q_proj.")
            place = place.replace("encoder.layers.", "transformer.resblocks.")
            tensors[f"{place}.attn.in_proj_{kind}"] = torch.cat(parts)
        elif ".self_attn.k_proj." not in key and ".self_attn.v_proj." not in key:
            name = key
            for ours, theirs in _OPEN_CLIP.items():
                name = name.replace(ours, theirs)
            tensors[name] = tensor
    return tensors
