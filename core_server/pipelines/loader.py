"""Loads a model's files onto the device. Safetensors only, from disk only, and never code."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
import torch

from core_server.errors import ModelLoadFailed, on_one_line
from core_server.pipelines.borrowed import read_borrowed
from core_server.pipelines.catalogue import (
    ModelFiles,
    profile_of,
    weight_files,
)
from core_server.pipelines.devices import dtype_for
from core_server.pipelines.families.registry import FAMILIES
from core_server.pipelines.folder import read_folder
from core_server.pipelines.hashes import hashing_by_name, sha256_of
from core_server.pipelines.memory import Rung
from core_server.pipelines.model import LoadedModel
from core_server.pipelines.placement import place
from core_server.pipelines.single_file import read_single_file
from core_server.pipelines.sources.shipped import lender_of_file
from core_server.pipelines.sources.weights import read_header
from core_server.pipelines.task import ModelProfile
from core_server.pipelines.tiny import make_tiny_pipeline


def load_model(
    files: ModelFiles,
    device: torch.device,
    *,
    place_it: bool = True,
    sha256: Callable[[Path], str] = sha256_of,
) -> LoadedModel:
    """Reads a model, and puts it on the device unless the caller places it (`pipelines.placement`).

    sha256: what reads or knows a file's hash. Errors: ModelLoadFailed in one sentence; torch.OutOfMemoryError.
    """
    profile = profile_of(files)
    family = FAMILIES[profile.family]
    dtype = dtype_for(device, family.half)
    notes: tuple[str, ...] = ()
    if files.path is None:
        pipeline = make_tiny_pipeline()
        notes = ("the test model was never trained; its pictures are coloured noise",)
        weights_hash = _resolved(_hash_modules(pipeline.components))
    else:
        for file in weight_files(files.path):
            inside = "" if file == files.path else file.relative_to(files.path).as_posix()
            read_header(file, f"{inside} of the model {files.model_id!r}" if inside else "")
        weights_hash = hashing_by_name(_named(files.path), sha256)
        try:
            lender = lender_of_file(files.path) if files.path.is_file() else None
            if lender is not None:
                notes = (f"text encoders and autoencoder of {lender.name}",)
            pipeline = _read(files.path, lender, profile.family, dtype)
        except (torch.OutOfMemoryError, ModelLoadFailed):
            raise
        except Exception as error:  # diffusers and transformers raise whatever they like
            raise ModelLoadFailed(
                f"The model {files.model_id!r} could not be loaded: {_one_line(error)}",
                model=files.model_id,
            ) from error
    # What is quantised keeps its own numbers.
    packed = any(getattr(part, "is_quantized", False) for part in pipeline.components.values())
    if not packed:
        pipeline.to(dtype=dtype)
    components = pipeline.components | dict.fromkeys(family.dropped)
    for component in components.values():
        if isinstance(component, torch.nn.Module):
            component.eval().requires_grad_(False)
    if profile.size_bytes == 0:
        profile = _sized(profile, components)
    known = inspect.signature(type(pipeline).__init__).parameters
    options = {
        name: value
        for name, value in pipeline.config.items()
        if name in known and name not in components
    }
    model = LoadedModel(profile, components, device, dtype, weights_hash, notes, options)
    if place_it:
        place(model, Rung.RESIDENT)
    return model


def _read(path: Path, lender: Path | None, family: str, dtype: torch.dtype) -> Any:
    if path.is_file() and lender is not None:
        return read_borrowed(path, lender, FAMILIES[family], dtype)
    if path.is_file():
        return read_single_file(path, read_header(path), dtype)
    return read_folder(path, FAMILIES[family], dtype)


def _sized(profile: ModelProfile, components: dict[str, Any]) -> ModelProfile:
    size = sum(
        parameter.numel() * parameter.element_size()
        for component in components.values()
        if isinstance(component, torch.nn.Module)
        for parameter in component.parameters()
    )
    return msgspec.structs.replace(profile, size_bytes=size)


def _named(path: Path) -> dict[str, Path]:
    """The model's files by name: a file's own, or within its folder."""
    files = weight_files(path)
    return {it.name if path.is_file() else it.relative_to(path).as_posix(): it for it in files}


def _hash_modules(components: dict[str, Any]) -> str:
    total = hashlib.sha256()
    for name in ("text_encoder", "unet", "vae"):
        for key, tensor in components[name].state_dict().items():
            total.update(f"{name}.{key}\0".encode())
            total.update(tensor.numpy().tobytes())
    return total.hexdigest()


def _resolved(value: str) -> Future[str]:
    future: Future[str] = Future()
    future.set_result(value)
    return future


def _one_line(error: Exception) -> str:
    return on_one_line(error, 400) or type(error).__name__
