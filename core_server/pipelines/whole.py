"""Whether a loaded pipeline has all its weights: libraries fill gaps with random numbers and only whisper about it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from core_server.errors import ModelLoadFailed
from core_server.pipelines.sources.weights import read_header

_OLD_NAMES = (
    (".query.", ".to_q."),
    (".key.", ".to_k."),
    (".value.", ".to_v."),
    (".proj_attn.", ".to_out.0."),
)
"""Attention layers of autoencoders as diffusers named them until 2022; it still reads them."""

_KNOWN_NAMING = ("CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel")
"""Classes of transformers whose tensors keep their names, but for a prefix; others are renamed while loading."""


def require_whole(components: Mapping[str, Any], title: str, folder: Path | None = None) -> None:
    """Refuses a model with parts that no file gave values. folder: the diffusers folder it came from, if any.

    Errors: ModelLoadFailed with the number of missing tensors and the first one's name.
    """
    for name, component in components.items():
        if not isinstance(component, torch.nn.Module):
            continue
        missing = [key for key, value in component.state_dict().items() if value.is_meta]
        if folder is not None and not missing:
            missing = _missing(component, folder / name)
        if missing:
            raise ModelLoadFailed(
                f"{title} is not a whole model: {len(missing)} tensors of its {name} are missing, the first is "
                f"{missing[0]!r}; download it again, or get another version of it."
            )


def _missing(component: torch.nn.Module, folder: Path) -> list[str]:
    ours = type(component).__module__.startswith("diffusers.")
    if not ours and type(component).__name__ not in _KNOWN_NAMING:
        return []
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        return []
    there = set()
    for file in files:
        for key in read_header(file).tensors:
            there.add(_plain(key))
    state = component.state_dict()
    shared = {value.data_ptr() for key, value in state.items() if _plain(key) in there}
    return [
        key
        for key, value in state.items()
        if _plain(key) not in there and (value.numel() == 0 or value.data_ptr() not in shared)
    ]


def _plain(key: str) -> str:
    for old, new in _OLD_NAMES:
        key = key.replace(old, new)
    return key.removeprefix("text_model.")
