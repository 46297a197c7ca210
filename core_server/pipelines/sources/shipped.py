"""Configurations for single-file checkpoints: which architectures they are for, and what they say. Free of torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from core_server.errors import ModelLoadFailed
from core_server.pipelines.sources.recognise import SD1, SD2, SDXL, FileKind, Recognised, recognise
from core_server.pipelines.sources.weights import read_header

CONFIGS = Path(__file__).parents[1] / "single_file_configs"
SHIPPED: Mapping[str, tuple[str, str]] = {
    SD1: ("stable_diffusion_1", "StableDiffusionPipeline"),
    SD2: ("stable_diffusion_2", "StableDiffusionPipeline"),
    SDXL: ("stable_diffusion_xl", "StableDiffusionXLPipeline"),
}
"""Folder of configurations and pipeline class by architecture."""

Configs = dict[str, Any]


def configs_of(path: Path) -> tuple[Configs, Configs, Configs, Configs]:
    """model_index.json and the configurations of denoiser, autoencoder and scheduler that fit a single file.

    Errors: ModelLoadFailed for what is no whole checkpoint of a shipped architecture.
    """
    stat = path.stat()
    return _configs(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _configs(path: Path, _size: int, _changed: int) -> tuple[Configs, Configs, Configs, Configs]:
    # Headers have thousands of entries, and the catalogue asks after every job.
    found = recognise(read_header(path))
    require_loadable(path, found)
    folder = CONFIGS / SHIPPED[found.architecture][0]
    index, denoiser, vae, scheduler = (
        json.loads((folder / name).read_text(encoding="utf-8"))
        for name in (
            "model_index.json",
            "unet/config.json",
            "vae/config.json",
            "scheduler/scheduler_config.json",
        )
    )
    return index, denoiser | {"in_channels": found.in_channels}, vae, scheduler


def require_loadable(path: Path, found: Recognised) -> None:
    """Refuses what is no whole checkpoint of a shipped architecture. Errors: ModelLoadFailed."""
    if found.kind is FileKind.CHECKPOINT and found.architecture in SHIPPED:
        return
    if found.kind is FileKind.UNKNOWN:
        raise ModelLoadFailed(
            f"{path.name} is not a whole Stable Diffusion 1, 2 or XL checkpoint, nor anything else this version knows; "
            "get the model's diffusers folder instead."
        )
    way = {
        FileKind.LORA: "put it into the data folder's `adapters` and name it with --lora",
        FileKind.TEXTUAL_INVERSION: "put it into the data folder's `adapters` and name it with --textual-inversion",
        FileKind.CONTROLNET: "install it with `scumble models install`; it works beside a model",
        FileKind.IP_ADAPTER: "install it with `scumble models install`; it works beside a model",
        FileKind.DENOISER: "get the whole model as a diffusers folder and give this file's folder as its denoiser",
    }.get(found.kind, "get the model's diffusers folder instead")
    if found.kind in (FileKind.CHECKPOINT, FileKind.DENOISER):
        way = "get the model's diffusers folder instead, for example with `scumble models install OWNER/NAME`"
    raise ModelLoadFailed(
        f"{path.name} is not a whole Stable Diffusion 1, 2 or XL checkpoint: it is {found.title}; {way}."
    )
