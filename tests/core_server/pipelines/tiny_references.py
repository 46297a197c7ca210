"""IP-Adapters with random weights in the layouts of the published ones, and a small image encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file

SUMMARY, LAYERS, TOKENS = 24, 32, 4
_EYES: dict[str, int] = {
    "hidden_size": LAYERS, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip


def image_encoder() -> Any:
    """CLIP's, of two layers; the same one for every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        return transformers.CLIPVisionModelWithProjection(
            transformers.CLIPVisionConfig(projection_dim=SUMMARY, **_EYES)
        ).eval()


def ip_adapter(unet: Any, kind: str = "plain", seed: int = 0) -> dict[str, torch.Tensor]:
    """kind: "plain" (reads the summary), "plus" or "full" (read the layers)."""
    rng = torch.Generator().manual_seed(seed)
    width = int(unet.config.cross_attention_dim)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng) * 0.4

    tensors = {
        f"image_proj.{key}": value for key, value in _projection(kind, width, random).items()
    }
    crossing = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    for k, name in enumerate(crossing):
        block = unet.get_submodule(name.removesuffix(".processor"))
        for part in ("to_k_ip", "to_v_ip"):
            tensors[f"ip_adapter.{2 * k + 1}.{part}.weight"] = random(
                block.to_q.out_features, width
            )
    return tensors


def siglip_encoder() -> Any:
    """SigLIP's eyes, of two layers; the same ones for every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        return transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**_EYES)).eval()


def sd3_ip_adapter(transformer: Any, seed: int = 0) -> dict[str, torch.Tensor]:
    """In the layout of InstantX's."""
    rng = torch.Generator().manual_seed(seed)
    config = transformer.config
    inner = config["num_attention_heads"] * config["attention_head_dim"]
    hidden = timesteps = 64

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng) * 0.4

    found = {f"image_proj.{k}": v for k, v in _projection("plus", inner, random).items()}
    for k in range(4):
        at = f"image_proj.layers.{k}"
        del found[f"{at}.1.0.weight"], found[f"{at}.1.0.bias"]
        found[f"{at}.1.0.weight"], found[f"{at}.1.0.bias"] = torch.ones(hidden), random(hidden)
        found[f"{at}.2.1.weight"] = random(4 * hidden, hidden)
        found[f"{at}.2.1.bias"] = random(4 * hidden)
    for k, (rows, columns) in enumerate(((hidden, timesteps), (hidden, hidden)), start=1):
        found[f"image_proj.time_embedding.linear_{k}.weight"] = random(rows, columns)
        found[f"image_proj.time_embedding.linear_{k}.bias"] = random(rows)
    for k in range(len(transformer.attn_processors)):
        at = f"ip_adapter.{k}"
        found[f"{at}.norm_ip.linear.weight"] = random(2 * inner, hidden)
        found[f"{at}.norm_ip.linear.bias"] = random(2 * inner)
        for part in ("to_k_ip", "to_v_ip"):
            found[f"{at}.{part}.weight"] = random(inner, inner)
        for part in ("norm_q", "norm_k", "norm_ip_k"):
            found[f"{at}.{part}.weight"] = torch.ones(config["attention_head_dim"])
    return found


def flux_ip_adapter(
    transformer: Any, seed: int = 0, *, xlabs: bool = False
) -> dict[str, torch.Tensor]:
    """xlabs: in the names of XLabs' files."""
    rng = torch.Generator().manual_seed(seed)
    config = transformer.config
    width, inner = (
        config["joint_attention_dim"], config["num_attention_heads"] * config["attention_head_dim"],
    )  # fmt: skip

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng) * 0.4

    tensors = {f"image_proj.{k}": v for k, v in _projection("plain", width, random).items()}
    for k in range(config["num_layers"]):
        for part in ("to_k_ip", "to_v_ip"):
            tensors[f"ip_adapter.{k}.{part}.weight"] = random(inner, width)
            tensors[f"ip_adapter.{k}.{part}.bias"] = random(inner)
    if not xlabs:
        return tensors
    return {
        key.replace("image_proj.", "ip_adapter_proj_model.")
        .replace("ip_adapter.", "double_blocks.", int(not key.startswith("image_proj.")))
        .replace(".to_k_ip.", ".processor.ip_adapter_double_stream_k_proj.")
        .replace(".to_v_ip.", ".processor.ip_adapter_double_stream_v_proj."): value
        for key, value in tensors.items()
    }


def _projection(kind: str, width: int, random: Any) -> dict[str, torch.Tensor]:
    norm = {"norm.weight": torch.ones(width), "norm.bias": random(width)}
    if kind == "plain":
        return {
            "proj.weight": random(TOKENS * width, SUMMARY),
            "proj.bias": random(TOKENS * width),
            **norm,
        }
    if kind == "full":
        return {
            "proj.0.weight": random(LAYERS, LAYERS),
            "proj.0.bias": random(LAYERS),
            "proj.2.weight": random(width, LAYERS),
            "proj.2.bias": random(width),
            "proj.3.weight": torch.ones(width),
            "proj.3.bias": random(width),
        }
    hidden = 64
    found = {
        "latents": random(1, TOKENS, hidden),
        "proj_in.weight": random(hidden, LAYERS),
        "proj_in.bias": random(hidden),
        "proj_out.weight": random(width, hidden),
        "proj_out.bias": random(width),
        "norm_out.weight": torch.ones(width),
        "norm_out.bias": random(width),
    }
    for k in range(4):
        at = f"layers.{k}"
        for name in ("0.norm1", "0.norm2", "1.0"):
            found |= {
                f"{at}.{name}.weight": torch.ones(hidden),
                f"{at}.{name}.bias": random(hidden),
            }
        found[f"{at}.0.to_q.weight"] = random(hidden, hidden)
        found[f"{at}.0.to_kv.weight"] = random(2 * hidden, hidden)
        found[f"{at}.0.to_out.weight"] = random(hidden, hidden)
        found[f"{at}.1.1.weight"] = random(4 * hidden, hidden)
        found[f"{at}.1.3.weight"] = random(hidden, 4 * hidden)
    return found


def save_ip_adapter(folder: Path, unet: Any, kind: str = "plain", *, encoder: bool = True) -> Path:
    """`folder`/adapter.safetensors and `folder`/image_encoder; the adapter's path."""
    folder.mkdir(parents=True)
    path = folder / "adapter.safetensors"
    save_file(ip_adapter(unet, kind), path)
    if encoder:
        image_encoder().save_pretrained(folder / "image_encoder")
    return path
