"""Control networks in the data folder: `controls/NAME/` with config.json and weights, or `controls/NAME.safetensors`.

Free of torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core_server.errors import InvalidRequest, ModelLoadFailed
from core_server.pipelines.published import why_none_fits
from core_server.pipelines.request import ControlKind
from core_server.pipelines.sources.recognise import (
    Z_IMAGE_CONTROL,
    FileKind,
    any_shape,
    recognise,
)
from core_server.pipelines.sources.recommended import recommended
from core_server.pipelines.sources.weights import read_header, unusable_in

FOLDER = "controls"
UNION_MODES = {
    ControlKind.POSE: 0,
    ControlKind.DEPTH: 1,
    ControlKind.LINE: 3,
    ControlKind.NORMAL: 4,
    ControlKind.TILE: 6,
    ControlKind.INPAINT: 7,
}
"""Numbers of the kinds in a ControlNet Union for SDXL; those from 6 on exist in its ProMax edition alone."""
FLUX_UNION_MODES = {
    ControlKind.LINE: 0,
    ControlKind.TILE: 1,
    ControlKind.DEPTH: 2,
    ControlKind.POSE: 4,
}
"""The same in those for FLUX.1 (InstantX, Shakker Labs) that are told what a picture shows."""

_UNTOLD_UNION = (ControlKind.DEPTH, ControlKind.LINE, ControlKind.POSE)
"""What networks named a union see by themselves."""
_UNION, _PLAIN, _FLUX = "ControlNetUnionModel", "ControlNetModel", "FluxControlNetModel"
_Z_IMAGE = "ZImageControlNetModel"
_EXTRA = ("extra_conditioning_channels", "extra_condition_channels")

_WORDS = {
    ControlKind.DEPTH: ("depth",),
    ControlKind.NORMAL: ("normal",),
    ControlKind.LINE: ("line", "canny", "scribble", "softedge", "hed", "mlsd", "sketch"),
    ControlKind.POSE: ("pose",),
    ControlKind.TILE: ("tile",),
    ControlKind.INPAINT: ("inpaint",),
}


@dataclass(frozen=True, slots=True)
class ControlFile:
    """class_name: diffusers'. width: see `width_of`. is_union: one network for all `kinds`, which is told them as
    numbers. sees_mask: reads a mask beside the picture, so that it works in an inpaint alone."""

    name: str
    path: Path
    class_name: str
    kinds: tuple[ControlKind, ...]
    width: int
    is_union: bool = False
    sees_mask: bool = False

    def weights(self) -> list[Path]:
        """Its files of weights."""
        return [self.path] if self.path.is_file() else sorted(self.path.glob("*.safetensors"))

    @property
    def network(self) -> str:
        """Its kind of network as `Family.control` names it."""
        return _PLAIN if self.class_name == _UNION else self.class_name

    def mode(self, kind: ControlKind) -> int | None:
        """What a union is told of the kind."""
        if not self.is_union:
            return None
        return (FLUX_UNION_MODES if self.class_name == _FLUX else UNION_MODES)[kind]


def width_of(config: Mapping[str, Any]) -> int:
    """What a control network and its denoiser have in common, by the configuration of either.

    Width of the text embeddings that a UNet reads, or of a transformer's own tokens. 0 if it tells neither.
    """
    if config.get("dim"):
        return int(config["dim"])
    if config.get("num_layers"):
        return int(config["num_attention_heads"]) * int(config["attention_head_dim"])
    return int(config.get("cross_attention_dim") or 0)


class ControlShelf:
    """The control networks of a data folder."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / FOLDER

    def all(self) -> tuple[ControlFile, ...]:
        """Every control network, by name."""
        if not self._folder.is_dir():
            return ()
        found = [_read(path.parent) for path in sorted(self._folder.glob("*/config.json"))]
        found += [_read_file(path) for path in sorted(self._folder.glob("*.safetensors"))]
        return tuple(it for it in found if it is not None)

    def choose(
        self, kinds: Sequence[ControlKind], network: str, width: int, family: str, title: str
    ) -> list[ControlFile]:
        """A network for each kind: one union for all where there is one. network: `Family.control`; width: of the
        model's denoiser; family: `Family.adapters`.

        Errors: InvalidRequest with how to install what is missing, or which model to take where nothing would fit.
        """
        fitting = [it for it in self.all() if (it.network, it.width) == (network, width)]
        for union in (it for it in fitting if it.is_union):
            if all(kind in union.kinds for kind in kinds):
                return [union] * len(kinds)
        chosen = []
        for index, kind in enumerate(kinds):
            single = next((it for it in fitting if not it.is_union and kind in it.kinds), None)
            if single is None:
                raise InvalidRequest(
                    f"parameters.control_images[{index}].kind",
                    why_none_fits("ControlNets", family, title, width)
                    or f"No ControlNet for {kind.value} is installed that fits {title}; {_advice(family, kind)}."
                    f"{unusable_in(self._folder)}",
                )
            chosen.append(single)
        return chosen


def _advice(family: str, kind: ControlKind) -> str:
    fitting = [it for it in recommended() if it.kind == "controlnet" and it.family == family]
    named = [it for it in fitting if kind in _kinds_of(it.id, {}) or "union" in it.id]
    if named:
        return f"install one with `scumble models install {named[0].id}`"
    return "install one with `scumble models install OWNER/NAME`, a Hub repository of a ControlNet for it"


def _read(folder: Path) -> ControlFile | None:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        own = folder / "profile.json"
        told = json.loads(own.read_text(encoding="utf-8")) if own.is_file() else {}
        class_name = str(config.get("_class_name", ""))
        is_union = class_name == _UNION or bool(config.get("num_mode"))
        sees_mask = any(int(config.get(name) or 0) for name in _EXTRA)
        if class_name == _UNION:
            most = int(config.get("num_control_type", 6))
            kinds = tuple(kind for kind, mode in UNION_MODES.items() if mode < most)
        elif is_union:
            kinds = tuple(FLUX_UNION_MODES)
        elif sees_mask:
            kinds = (ControlKind.INPAINT,)
        else:
            kinds = _kinds_of(f"{folder.name} {told.get('title', '')}", told)
        return ControlFile(
            folder.name, folder, class_name, kinds, width_of(config), is_union, sees_mask
        )
    except (ValueError, OSError, AttributeError, TypeError, KeyError):
        return None


def _read_file(path: Path) -> ControlFile | None:
    """A network in one file, told by its tensors; `NAME.json` beside it as profile.json in a folder."""
    try:
        header = read_header(path)
        own = path.with_suffix(".json")
        told = json.loads(own.read_text(encoding="utf-8")) if own.is_file() else {}
        kinds = _kinds_of(f"{path.stem} {told.get('title', '')}", told)
    except (ModelLoadFailed, ValueError, OSError, AttributeError):
        return None
    found = recognise(header)
    if found.kind is not FileKind.CONTROLNET:
        return None
    if found.architecture == "z_image":
        width = (0, *header.shape(f"{Z_IMAGE_CONTROL}2-1.bias"))[-1]
        return ControlFile(path.stem, path, _Z_IMAGE, kinds, width)
    width = (0, *any_shape(header, "attn2.to_k.weight"))[-1]
    return ControlFile(path.stem, path, _PLAIN, kinds, width)


def _kinds_of(name: str, told: Any) -> tuple[ControlKind, ...]:
    """`controls` in profile.json, else what the name says."""
    if told.get("controls"):
        return tuple(ControlKind(it) for it in told["controls"])
    words = name.lower()
    found = tuple(kind for kind, marks in _WORDS.items() if any(it in words for it in marks))
    return found or (_UNTOLD_UNION if "union" in words else ())
