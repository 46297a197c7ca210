"""The saved model: a standard pipeline folder, small enough shards, and its way back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, DPMSolverMultistepScheduler, UNet2DConditionModel
from transformers import CLIPTextModel

from core_server.training.default_model.networks import scheduler_config

SHARD = "15MB"
TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json")


def save_autoencoder(vae: AutoencoderTiny, folder: Path) -> None:
    """fp16 weights under folder/vae."""
    copy = AutoencoderTiny.from_config(vae.config)
    copy.load_state_dict({k: v.detach().float().cpu() for k, v in vae.state_dict().items()})
    copy.to(memory_format=torch.contiguous_format).half().save_pretrained(folder / "vae")
    _drop(folder / "vae" / "config.json", "_name_or_path", "block_out_channels")


def _drop(config_path: Path, *keys: str) -> None:
    """Remove keys that name this machine or that the class derives itself and warns about."""
    config = json.loads(config_path.read_text("utf-8"))
    kept = {key: value for key, value in config.items() if key not in keys}
    config_path.write_text(json.dumps(kept, indent=2) + "\n", "utf-8")


def save_pipeline(
    folder: Path,
    *,
    vae: AutoencoderTiny,
    unet: UNet2DConditionModel,
    text: CLIPTextModel,
    tokenizer: Path,
    training: dict[str, object],
) -> None:
    """Write what `StableDiffusionPipeline.from_pretrained(folder)` reads, fp16, and training.json.

    The text encoder's config says float32: transformers takes the dtype from it, diffusers makes
    the UNet float32 by default, and the two must agree.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_autoencoder(vae, folder)
    plain = UNet2DConditionModel.from_config(unet.config)
    plain.load_state_dict({k: v.detach().float().cpu() for k, v in unet.state_dict().items()})
    plain.half().save_pretrained(folder / "unet", max_shard_size=SHARD)
    _drop(folder / "unet" / "config.json", "_name_or_path")
    words = CLIPTextModel(text.config)
    words.load_state_dict({k: v.detach().float().cpu() for k, v in text.state_dict().items()})
    words.half().save_pretrained(folder / "text_encoder")
    config_path = folder / "text_encoder" / "config.json"
    config = json.loads(config_path.read_text("utf-8"))
    config.pop("dtype", None)
    config["torch_dtype"] = "float32"
    config["dtype"] = "float32"
    config_path.write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    DPMSolverMultistepScheduler(**scheduler_config()).save_pretrained(folder / "scheduler")
    (folder / "tokenizer").mkdir(exist_ok=True)
    for name in TOKENIZER_FILES:
        if (tokenizer / name).resolve() != (folder / "tokenizer" / name).resolve():
            shutil.copyfile(tokenizer / name, folder / "tokenizer" / name)
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.42.1",
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderTiny"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", "utf-8")
    (folder / "training.json").write_text(json.dumps(training, indent=2) + "\n", "utf-8")


def load_autoencoder(folder: Path, device: str) -> AutoencoderTiny:
    """The saved autoencoder in float32, ready to train on."""
    vae = AutoencoderTiny.from_pretrained(folder / "vae").float().to(device)
    return vae.to(memory_format=torch.channels_last)
