"""ControlNets from one file: for Stable Diffusion 1, 2 and XL, in their original layout or in diffusers', and for
Z-Image, where they are published so. What the configuration would say is told by the tensors; no network."""

from __future__ import annotations

import inspect
import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch

from core_server.errors import ModelLoadFailed
from core_server.pipelines.sources.recognise import ARCHITECTURES, Z_IMAGE_CONTROL, recognise
from core_server.pipelines.sources.shipped import CONFIGS, SHIPPED
from core_server.pipelines.sources.weights import WeightsHeader, read_header

_Z_IMAGE = "z_image"
_Z_IMAGE_LAYERS = 30
"""Of the published transformer; its control layers stand at equal distances from the first one on."""
_Z_IMAGE_PATCH = 4
"""Latents that it sees as one cell."""


def read_control_file(
    path: Path, dtype: torch.dtype, denoiser: Mapping[str, Any] | None = None
) -> Any:
    """The network on the CPU. denoiser: configuration of what it was made for, in place of the shipped one.

    Errors: ModelLoadFailed for a file that is no such ControlNet, or has other layers.
    """
    header = read_header(path)
    found = recognise(header)
    if found.architecture == _Z_IMAGE:
        cls, config = diffusers.ZImageControlNetModel, _z_image(path, header, denoiser or {})
    else:
        cls, config = diffusers.ControlNetModel, _unet(path, found.architecture, denoiser)
    with tempfile.TemporaryDirectory(prefix="scumble-") as folder:
        told = {"_class_name": cls.__name__, **config}
        (Path(folder) / "config.json").write_text(json.dumps(told), encoding="utf-8")
        # An absolute path and no download: the configuration is all that diffusers would fetch.
        return cls.from_single_file(
            str(path.resolve()), config=folder, local_files_only=True, dtype=dtype
        )


def _unet(path: Path, architecture: str, denoiser: Mapping[str, Any] | None) -> dict[str, Any]:
    if denoiser is None:
        if architecture not in SHIPPED:
            titles = ", ".join(ARCHITECTURES[it] for it in (*SHIPPED, _Z_IMAGE))
            raise ModelLoadFailed(
                f"{path.name} is no ControlNet that can be loaded from one file; those of {titles} can, others come as "
                "a folder with config.json."
            )
        own = CONFIGS / SHIPPED[architecture][0] / "unet" / "config.json"
        denoiser = json.loads(own.read_text(encoding="utf-8"))
    assert denoiser is not None
    known = inspect.signature(diffusers.ControlNetModel.__init__).parameters
    return {key: value for key, value in denoiser.items() if key in known} | {"in_channels": 4}


def _z_image(path: Path, header: WeightsHeader, denoiser: Mapping[str, Any]) -> dict[str, Any]:
    """Of alibaba-pai's unions: 6 control layers in the first, 15 in 2.0 and 2.1, 3 in their lite versions."""
    layers = int(denoiser.get("n_layers", _Z_IMAGE_LAYERS))
    ours, refiners = _count(header, "control_layers"), _count(header, "control_noise_refiner")
    dim, cell = header.shape(f"{Z_IMAGE_CONTROL}2-1.weight")[:2] or (0, 0)
    head = (header.shape("control_layers.0.attention.norm_q.weight") or (0,))[0]
    keys = (header.shape("control_layers.0.attention.to_k.weight") or (0,))[0]
    if not (ours and head and keys) or layers % ours:
        raise ModelLoadFailed(
            f"{path.name} is a ControlNet for Z-Image of a kind that this version does not know; get it as a folder "
            "with config.json."
        )
    config: dict[str, Any] = {
        "control_layers_places": list(range(0, layers, layers // ours)),
        "control_in_dim": cell // _Z_IMAGE_PATCH,
        "dim": dim,
        "n_refiner_layers": refiners,
        "n_heads": dim // head,
        "n_kv_heads": keys // head,
    }
    if "control_noise_refiner.0.after_proj.weight" in header.tensors:
        # 2.0 was trained with its control layers in the refiner's place, which its tensors do not tell.
        twice = "2.0" in path.stem and "2.1" not in path.stem
        config["add_control_noise_refiner"] = "control_layers" if twice else "control_noise_refiner"
        config["control_refiner_layers_places"] = list(range(refiners))
    return config


def _count(header: WeightsHeader, name: str) -> int:
    numbers = [int(it[1]) for key in header.tensors if (it := re.match(rf"{name}\.(\d+)\.", key))]
    return max(numbers, default=-1) + 1
