"""Loads a file with a denoiser alone; the other parts come from the folder that lends them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
from safetensors import safe_open

from core_server.errors import ModelLoadFailed, on_one_line
from core_server.pipelines.families.family import Family
from core_server.pipelines.folder import index_of, read_folder, read_gguf
from core_server.pipelines.sources.lenders import DENOISER
from core_server.pipelines.sources.recognise import LDM_PREFIX
from core_server.pipelines.sources.weights import read_header
from core_server.pipelines.whole import require_whole


def read_borrowed(path: Path, lender: Path, family: Family, dtype: torch.dtype) -> Any:
    """A stock pipeline on the CPU. Errors: ModelLoadFailed; whatever diffusers raises."""
    class_name = str(index_of(lender)[DENOISER][1])
    config = lender / DENOISER
    if read_header(path).format == "gguf":
        denoiser = read_gguf(path, config, class_name, dtype)
    else:
        denoiser = _read(path, config, class_name, dtype)
    for file in lender.rglob("*.safetensors"):
        if file.parent != config:
            read_header(file)
    require_whole({DENOISER: denoiser}, path.name)
    return read_folder(lender, family, dtype, {DENOISER: denoiser})


def _read(path: Path, config: Path, class_name: str, dtype: torch.dtype) -> Any:
    with safe_open(path, framework="pt") as file:
        keys = list(file.keys())
        # Files with everything in them mark what is the denoiser's; the rest is not read.
        mark = LDM_PREFIX if any(key.startswith(LDM_PREFIX) for key in keys) else ""
        tensors = {
            key.removeprefix(mark): file.get_tensor(key) for key in keys if key.startswith(mark)
        }
    try:
        return getattr(diffusers, class_name).from_single_file(
            tensors, config=str(config.resolve()), local_files_only=True, dtype=dtype
        )
    except (KeyError, ValueError, RuntimeError) as error:
        # What diffusers raises for tensors that it looks for, and for shapes that do not fit.
        raise ModelLoadFailed(
            f"{path.name} does not fit the model that it borrows from, or some of its tensors are missing: "
            f"{on_one_line(error, 200)}"
        ) from error
