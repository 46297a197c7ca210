"""LoRAs with random weights, in the two layouts of the field."""

from __future__ import annotations

import re
from typing import Any

import torch

PARTS = ("unet", "text_encoder", "text_encoder_2")


def diffusers_lora(pipeline: Any, seed: int) -> dict[str, torch.Tensor]:
    """A LoRA of rank 2 for every attention projection of UNet and text encoders, in diffusers' names."""
    rng = torch.Generator().manual_seed(seed)
    tensors = {}
    for part in (it for it in PARTS if hasattr(pipeline, it)):
        for name, module in getattr(pipeline, part).named_modules():
            if re.search(r"(to_[qkv]|to_out\.0|[qkv]_proj|out_proj|fc[12])$", name) and isinstance(
                module, torch.nn.Linear
            ):
                down = torch.randn(2, module.in_features, generator=rng)
                up = torch.randn(module.out_features, 2, generator=rng)
                plain = name.removeprefix("text_model.")
                layer = f"{part}.{plain}" if part == "unet" else f"{part}.text_model.{plain}"
                tensors[f"{layer}.lora_A.weight"] = down
                tensors[f"{layer}.lora_B.weight"] = up
    return tensors


def kohya(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same LoRA as the training scripts of the field write it, with alpha = rank."""
    renamed = {}
    first = "lora_te1_" if any(key.startswith("text_encoder_2.") for key in tensors) else "lora_te_"
    for key, tensor in tensors.items():
        module, _, kind = key.partition(".lora_")
        name = module.replace("text_encoder.", first).replace("text_encoder_2.", "lora_te2_")
        name = name.replace("unet.", "lora_unet_").replace(".", "_")
        renamed[f"{name}.{'lora_down' if kind.startswith('A') else 'lora_up'}.weight"] = tensor
        renamed[f"{name}.alpha"] = torch.tensor(2.0)
    return renamed
