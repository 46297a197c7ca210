"""The ControlNets that are on a device. Models share them, and the last few that were used stay for the next job."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import diffusers
import torch

from core_server.errors import ModelLoadFailed, on_one_line
from core_server.pipelines.control_files import ControlFile
from core_server.pipelines.control_single_file import read_control_file
from core_server.pipelines.folder import check_part
from core_server.pipelines.hashes import Stamp, hashing, stamp_of
from core_server.pipelines.sources.weights import read_header

MAX_LOADED = 3


@dataclass(frozen=True, slots=True, eq=False)
class ControlNetwork:
    """sha256: of its weights."""

    module: Any
    sha256: Future[str]


_Key = tuple[Stamp, torch.device, torch.dtype]
_loaded: dict[_Key, ControlNetwork] = {}
_needed: set[_Key] = set()
"""By the job at hand."""


def needed_networks(
    files: Sequence[ControlFile], device: torch.device, dtype: torch.dtype
) -> tuple[ControlNetwork, ...]:
    """What the job at hand needs, read where it is not there yet. Errors: ModelLoadFailed, torch.OutOfMemoryError."""
    keys = [(stamp_of(it.weights()), device, dtype) for it in files]
    _needed.clear()
    _needed.update(keys)
    return tuple(_network(file, key) for file, key in zip(files, keys, strict=True))


def need_no_network() -> None:
    """The job at hand has no control."""
    _needed.clear()


def give_up_networks(*, needed_too: bool) -> bool:
    """Forgets them, or those that the job at hand does not need; whether there was one to forget."""
    gone = [key for key in _loaded if needed_too or key not in _needed]
    for key in gone:
        del _loaded[key]
    return bool(gone)


def _network(file: ControlFile, key: _Key) -> ControlNetwork:
    network = _loaded.pop(key, None)
    if network is None:
        network = _read(file, *key[1:])
        while len(_loaded) >= MAX_LOADED:
            _loaded.pop(next(iter(_loaded)))
    _loaded[key] = network
    return network


def _read(file: ControlFile, device: torch.device, dtype: torch.dtype) -> ControlNetwork:
    weights = file.weights()
    check_part(file.path)
    for path in weights:
        read_header(path)
    sha256 = hashing(weights)
    cls = getattr(diffusers, file.class_name)
    half = any(".fp16" in path.name for path in weights)
    try:
        if file.path.is_file():
            module = read_control_file(file.path, dtype).to(device)
        else:
            module = cls.from_pretrained(
                file.path,
                dtype=dtype,
                local_files_only=True,
                use_safetensors=True,
                variant="fp16" if half else None,
            ).to(device)
    except (torch.OutOfMemoryError, ModelLoadFailed):
        raise
    except Exception as error:  # diffusers raises whatever it likes
        raise ModelLoadFailed(
            f"The ControlNet {file.name!r} could not be loaded: {on_one_line(error)}"
        ) from error
    return ControlNetwork(module.eval().requires_grad_(False), sha256)
