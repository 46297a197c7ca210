"""Single files of FLUX, Z-Image, Stable Diffusion 3 and Qwen-Image: what is common is a denoiser alone.

Such a file, .safetensors or GGUF, borrows everything but its denoiser from a diffusers folder of the same family that
lies beside it in `models`. Free of torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from core_server.errors import ModelLoadFailed
from core_server.pipelines.families.registry import FAMILIES, family_of
from core_server.pipelines.sources.recognise import (
    FLUX2,
    LDM_PREFIX,
    SD3,
    FileKind,
    Recognised,
    recognise,
)
from core_server.pipelines.sources.recommended import recommended
from core_server.pipelines.sources.weights import WeightsHeader

BASE = "base"
"""Key of `NAME.json` beside the file: the name of the folder to borrow from, where several would fit."""
DENOISER = "transformer"
_INDEX = "model_index.json"
_SCALED = (".scale_weight", ".weight_scale", "scaled_fp8", ".scale_input")

Fact = Callable[[Mapping[str, tuple[int, ...]]], Any]
"""Something that the tensors' names and shapes say; None where they do not."""


def _count(*blocks: str) -> Fact:
    """How many blocks there are, by their original name or diffusers' own."""

    def count(shapes: Mapping[str, tuple[int, ...]]) -> int | None:
        for name in blocks:
            numbers = [int(m[1]) for key in shapes if (m := re.match(rf"{name}\.(\d+)\.", key))]
            if numbers:
                return max(numbers) + 1
        return None

    return count


def _width(*keys: str) -> Fact:
    """How many numbers a layer reads."""
    return lambda shapes: next((shapes[key][1] for key in keys if key in shapes), None)


def _has(*parts: str) -> Fact:
    return lambda shapes: any(part in key for part in parts for key in shapes)


_FLUX = {
    "num_layers": _count("double_blocks", "transformer_blocks"),
    "num_single_layers": _count("single_blocks", "single_transformer_blocks"),
    "in_channels": _width("img_in.weight", "x_embedder.weight"),
    "guidance_embeds": _has("guidance_in.", "guidance_embedder."),
}
_FACTS: Mapping[str, Mapping[str, Fact]] = {
    "flux": _FLUX,
    FLUX2: _FLUX,
    SD3: {
        "num_layers": _count("joint_blocks", "transformer_blocks"),
        "qk_norm": _has(".ln_q.", ".norm_q."),
        "dual_attention_layers": _has(".attn2."),
    },
    "z_image": {"n_layers": _count("layers")},
    "qwen_image": {"num_layers": _count("transformer_blocks")},
}
"""By architecture: what the denoiser's config.json must say for the file to be of its kind."""


def borrows(found: Recognised) -> bool:
    """Whether a file of that kind takes its other parts from a folder."""
    return found.kind in (FileKind.CHECKPOINT, FileKind.DENOISER) and found.architecture in _FACTS


def lender_of(path: Path, header: WeightsHeader, shelf: Path | None = None) -> Path | None:
    """The folder that lends its parts to a file; None for a file that needs none. shelf: where folders are looked for.

    Errors: ModelLoadFailed where no folder fits, and for numbers that diffusers does not read.
    """
    found = recognise(header)
    if not borrows(found):
        return None
    if any(key.endswith(_SCALED) for key in header.tensors):
        raise ModelLoadFailed(
            f"{path.name} is stored in 8-bit numbers with scales of their own, which diffusers does not read; get its "
            "bf16 or GGUF version."
        )
    shelf = shelf or path.parent
    named = _json(path.with_suffix(".json")).get(BASE)
    folders = [shelf / str(named)] if named else sorted(shelf.iterdir())
    shapes = {key.removeprefix(LDM_PREFIX): info.shape for key, info in header.tensors.items()}
    for folder in folders:
        if (folder / _INDEX).is_file() and _fits(folder, found.architecture, shapes):
            return folder
    raise ModelLoadFailed(_nobody(path.name, found, str(named or "")))


def _fits(folder: Path, architecture: str, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    config = _json(folder / DENOISER / "config.json")
    family = family_of(str(_json(folder / _INDEX).get("_class_name", "")), config)
    if family is None or family.adapters != architecture or not config:
        return False
    for key, fact in _FACTS[architecture].items():
        told = fact(shapes)
        ours = bool(config.get(key)) if isinstance(told, bool) else config.get(key)
        if told is not None and told != ours:
            return False
    return True


def _nobody(name: str, found: Recognised, base: str) -> str:
    offered = [
        it.id for it in recommended() if it.kind == "model" and it.family == found.architecture
    ]
    originals = [it.original for it in FAMILIES.values() if it.adapters == found.architecture]
    source = (offered or originals)[0]
    missing = (
        f"{base!r}, which its .json names, does not fit" if base else "none that fits is beside it"
    )
    return (
        f"{name} is {found.title}, which borrows its text encoders and autoencoder from a whole model of its kind, and "
        f"{missing}; install that one first, such as `scumble models install {source}`."
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
