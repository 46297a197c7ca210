"""Control networks with random weights for the tiny transformers; none of their outputs is zero."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

_FLUX = ("num_layers", "num_single_layers", "attention_head_dim", "num_attention_heads", "joint_attention_dim",
         "pooled_projection_dim", "axes_dims_rope", "guidance_embeds", "in_channels")  # fmt: skip
_SD3 = ("sample_size", "patch_size", "in_channels", "num_layers", "attention_head_dim", "num_attention_heads",
        "joint_attention_dim", "caption_projection_dim", "pooled_projection_dim", "out_channels")  # fmt: skip
_QWEN = ("patch_size", "in_channels", "out_channels", "num_layers", "attention_head_dim", "num_attention_heads",
         "joint_attention_dim", "axes_dims_rope")  # fmt: skip
_SANA = ("in_channels", "out_channels", "num_layers", "num_attention_heads", "attention_head_dim", "sample_size",
         "cross_attention_dim", "num_cross_attention_heads", "cross_attention_head_dim", "caption_channels",
         "patch_size")  # fmt: skip


def control_network(family: str, transformer: Any, seed: int = 1, **changes: Any) -> Any:
    """One for that transformer; the same for the same arguments. changes: of its configuration."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = _MAKERS[family](transformer.config, changes)
        for parameter in made.parameters():  # what starts as zero is what would make it do nothing
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.3)
    return made.eval().requires_grad_(False)


def _picked(config: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: config[name] for name in names}


def _z_image(config: Any, changes: dict[str, Any]) -> Any:
    return diffusers.ZImageControlNetModel(
        **{
            "control_layers_places": [0, 1],
            "control_in_dim": config["in_channels"],
            "dim": config["dim"],
            "n_refiner_layers": config["n_refiner_layers"],
            "n_heads": config["n_heads"],
            "n_kv_heads": config["n_kv_heads"],
            **changes,
        }
    )


_MAKERS = {
    "flux": lambda c, more: diffusers.FluxControlNetModel(**(_picked(c, _FLUX) | more)),
    "stable_diffusion_3": lambda c, more: diffusers.SD3ControlNetModel(**(_picked(c, _SD3) | more)),
    "qwen_image": lambda c, more: diffusers.QwenImageControlNetModel(**(_picked(c, _QWEN) | more)),
    "z_image": _z_image,
    "sana": lambda c, more: diffusers.SanaControlNetModel(**(_picked(c, _SANA) | more)),
}
