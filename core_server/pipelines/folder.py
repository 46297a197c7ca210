"""Loads a diffusers folder: safetensors and GGUF only, nothing that leads out of the folder, never code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from transformers import AutoTokenizer

from core_server.errors import ModelLoadFailed
from core_server.pipelines.families.family import Family
from core_server.pipelines.families.registry import pipeline_class
from core_server.pipelines.sources.weights import PICKLE_SUFFIXES
from core_server.pipelines.still_processor import StillProcessor
from core_server.pipelines.whole import require_whole

_PIXTRAL = "PixtralProcessor"
HALF_VARIANT = "fp16"
"""How diffusers marks files in half precision: `model.fp16.safetensors`."""


def index_of(path: Path) -> dict[str, Any]:
    """model_index.json of a diffusers folder."""
    index: dict[str, Any] = json.loads((path / "model_index.json").read_text(encoding="utf-8"))
    return index


def read_folder(
    path: Path, family: Family, dtype: torch.dtype, given: Mapping[str, Any] | None = None
) -> Any:
    """A stock pipeline on the CPU. given: parts that are read already; the folder's own stay where they are.

    Errors: ModelLoadFailed for pickles, lists that lead elsewhere and missing tensors; whatever diffusers raises.
    """
    index = index_of(path)
    ready: dict[str, Any] = dict.fromkeys(family.dropped) | dict(given or {})
    parts = [name for name, entry in index.items() if _is_part(entry) and name not in ready]
    for name in parts:
        check_part(path / name)
        quantised = sorted((path / name).glob("*.gguf"))
        if quantised:
            ready[name] = read_gguf(quantised[0], path / name, str(index[name][1]), dtype)
    if "processor" in parts:
        ready["processor"] = StillProcessor.of(path / "processor")
    # A tokenizer with a part for pictures, which needs torchvision; no prompt has any.
    pixtral = index.get("tokenizer", (None, None))[1] == _PIXTRAL
    if pixtral:
        ready["tokenizer"] = None
    cls = pipeline_class(next(iter(family.tasks.values())).class_name)
    pipeline = cls.from_pretrained(
        path,
        dtype=dtype,
        local_files_only=True,
        use_safetensors=True,
        variant=_variant(path, parts),
        **ready,
        **family.pipeline_options,
    )
    if pixtral:
        tokenizer = AutoTokenizer.from_pretrained(path / "tokenizer", local_files_only=True)
        pipeline.register_modules(tokenizer=tokenizer)
    require_whole(
        {name: part for name, part in pipeline.components.items() if name not in ready},
        path.name,
        path,
    )
    return pipeline


def check_part(folder: Path) -> None:
    """Refuses a component of pickles alone, and shard lists that name files elsewhere. Errors: ModelLoadFailed."""
    if not folder.is_dir():
        return
    names = [file.name for file in folder.iterdir()]
    pickles = [name for name in names if Path(name).suffix in PICKLE_SUFFIXES]
    if pickles and not any(name.endswith((".safetensors", ".gguf")) for name in names):
        raise ModelLoadFailed(
            f"{folder.name} of {folder.parent.name!r} has its weights as a pickle alone ({pickles[0]}), which can run "
            "code when it is loaded; get the model's .safetensors version, or convert it on a machine where running "
            "its code does no harm."
        )
    for file in folder.glob("*.safetensors.index*.json"):
        try:
            shards = set(json.loads(file.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ModelLoadFailed(
                f"{file.name} in {folder.name} of {folder.parent.name!r} is broken; download it again."
            ) from error
        for shard in shards:
            if not isinstance(shard, str) or shard not in names:
                raise ModelLoadFailed(
                    f"{file.name} in {folder.name} of {folder.parent.name!r} names the file {shard!r}, which is not "
                    "beside it; download the model again."
                )


def read_gguf(path: Path, config: Path, class_name: str, dtype: torch.dtype) -> Any:
    """A quantised denoiser; its numbers stay small in memory and are widened when they are used.

    config: folder with the denoiser's config.json. Errors: ModelLoadFailed where diffusers cannot read it.
    """
    cls = getattr(diffusers, class_name)
    if not hasattr(cls, "from_single_file"):
        raise ModelLoadFailed(
            f"{path.name} is a GGUF file, which diffusers cannot read for a {class_name}."
        )
    if not (config / "config.json").is_file():
        raise ModelLoadFailed(f"{path.name} needs the config.json of its denoiser beside it.")
    return cls.from_single_file(
        str(path.resolve()),
        config=str(config.resolve()),
        quantization_config=diffusers.GGUFQuantizationConfig(compute_dtype=dtype),
        dtype=dtype,
        local_files_only=True,
    )


def _variant(path: Path, parts: list[str]) -> str | None:
    """The fp16 files are taken where there are no others."""
    plain, half = False, False
    for name in parts:
        for file in (path / name).glob("*.safetensors"):
            if f".{HALF_VARIANT}" in file.name:
                half = True
            else:
                plain = True
    return HALF_VARIANT if half and not plain else None


def _is_part(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and entry[0] is not None
