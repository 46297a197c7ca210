"""A ControlNet of Stable Diffusion 1, 2 or XL from one file, in its original layout or in diffusers'; no network."""

from __future__ import annotations

import inspect
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch

from core_server.errors import ModelLoadFailed
from core_server.pipelines.sources.recognise import ARCHITECTURES, recognise
from core_server.pipelines.sources.shipped import CONFIGS, SHIPPED
from core_server.pipelines.sources.weights import read_header


def read_control_file(
    path: Path, dtype: torch.dtype, denoiser: Mapping[str, Any] | None = None
) -> Any:
    """The network on the CPU. denoiser: configuration of the UNet that it was made from, in place of the shipped one.

    Errors: ModelLoadFailed for a file that is no such ControlNet, or has other layers.
    """
    found = recognise(read_header(path))
    if denoiser is None:
        if found.architecture not in SHIPPED:
            titles = ", ".join(ARCHITECTURES[it] for it in SHIPPED)
            raise ModelLoadFailed(
                f"{path.name} is no ControlNet that can be loaded from one file; those of {titles} can, others come as "
                "a folder with config.json."
            )
        own = CONFIGS / SHIPPED[found.architecture][0] / "unet" / "config.json"
        denoiser = json.loads(own.read_text(encoding="utf-8"))
    assert denoiser is not None
    known = inspect.signature(diffusers.ControlNetModel.__init__).parameters
    config = {key: value for key, value in denoiser.items() if key in known} | {"in_channels": 4}
    with tempfile.TemporaryDirectory(prefix="scumble-") as folder:
        told = {"_class_name": "ControlNetModel", **config}
        (Path(folder) / "config.json").write_text(json.dumps(told), encoding="utf-8")
        # An absolute path and no download: the configuration is all that diffusers would fetch.
        return diffusers.ControlNetModel.from_single_file(
            str(path.resolve()), config=folder, local_files_only=True, dtype=dtype
        )
