"""Configurations for single-file checkpoints: which architectures they are for, and what they say. Free of torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from core_server.errors import ModelLoadFailed
from core_server.pipelines.sources.lenders import DENOISER, borrows, lender_of
from core_server.pipelines.sources.recognise import SD1, SD2, SDXL, FileKind, Recognised, recognise
from core_server.pipelines.sources.weights import WeightsHeader, read_header

CONFIGS = Path(__file__).parents[1] / "single_file_configs"
SHIPPED: Mapping[str, tuple[str, str]] = {
    SD1: ("stable_diffusion_1", "StableDiffusionPipeline"),
    SD2: ("stable_diffusion_2", "StableDiffusionPipeline"),
    SDXL: ("stable_diffusion_xl", "StableDiffusionXLPipeline"),
}
"""Folder of configurations and pipeline class by architecture."""

Configs = dict[str, Any]


def configs_of(path: Path) -> tuple[Configs, Configs, Configs, Configs]:
    """model_index.json and the configurations of denoiser, autoencoder and scheduler that fit a single file: shipped
    ones, or those of the folder that it borrows from.

    Errors: ModelLoadFailed for what cannot be loaded.
    """
    lender = lender_of_file(path)
    found = _told(path)[1]
    folder, denoiser = lender, f"{DENOISER}/config.json"
    if folder is None:
        folder, denoiser = CONFIGS / SHIPPED[found.architecture][0], "unet/config.json"
    index, own, vae, scheduler = (
        json.loads((folder / name).read_text(encoding="utf-8"))
        for name in (
            "model_index.json",
            denoiser,
            "vae/config.json",
            "scheduler/scheduler_config.json",
        )
    )
    if lender is None:
        own |= {"in_channels": found.in_channels}
    return index, own, vae, scheduler


def lender_of_file(path: Path) -> Path | None:
    """The folder that a single file borrows from; None if it needs none. Errors: ModelLoadFailed as `configs_of`."""
    return require_loadable(path, *_told(path))


def _told(path: Path) -> tuple[WeightsHeader, Recognised]:
    stat = path.stat()
    return _read(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _read(path: Path, _size: int, _changed: int) -> tuple[WeightsHeader, Recognised]:
    # Headers have thousands of entries, and the catalogue asks after every job.
    header = read_header(path)
    return header, recognise(header)


def require_loadable(
    path: Path, header: WeightsHeader, found: Recognised, shelf: Path | None = None
) -> Path | None:
    """Refuses what cannot be loaded as a model; returns the folder that a file borrows from, if it does.

    shelf: where such folders are looked for; None: beside the file. Errors: ModelLoadFailed.
    """
    if found.kind is FileKind.CHECKPOINT and found.architecture in SHIPPED:
        return None
    if borrows(found):
        return lender_of(path, header, shelf)
    if found.kind is FileKind.UNKNOWN:
        raise ModelLoadFailed(
            f"{path.name} is of no kind that this version knows; get the model's diffusers folder instead."
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
        f"{path.name} is no model that can be loaded from one file: it is {found.title}; {way}."
    )
