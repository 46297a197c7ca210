"""Control networks in the data folder: `controls/NAME/` with config.json and weights. Free of torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core_server.errors import InvalidRequest
from core_server.pipelines.request import ControlKind
from core_server.pipelines.sources.recommended import recommended

FOLDER = "controls"
UNION_MODES = {
    ControlKind.POSE: 0,
    ControlKind.DEPTH: 1,
    ControlKind.LINE: 3,
    ControlKind.NORMAL: 4,
    ControlKind.TILE: 6,
    ControlKind.INPAINT: 7,
}
"""Numbers of the kinds in a ControlNet Union; those from 6 on exist in its ProMax edition alone."""

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
    """width: of the text embeddings that it reads, which tells the family. is_union: one network for all `kinds`."""

    name: str
    path: Path
    kinds: tuple[ControlKind, ...]
    width: int
    is_union: bool


class ControlShelf:
    """The control networks of a data folder."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / FOLDER

    def all(self) -> tuple[ControlFile, ...]:
        """Every control network, by name."""
        if not self._folder.is_dir():
            return ()
        found = (_read(path.parent) for path in sorted(self._folder.glob("*/config.json")))
        return tuple(it for it in found if it is not None)

    def choose(
        self, kinds: Sequence[ControlKind], width: int, family: str, title: str
    ) -> list[ControlFile]:
        """A network for each kind: one union for all where there is one. family: `Family.adapters`.

        Errors: InvalidRequest with how to install what is missing.
        """
        fitting = [it for it in self.all() if it.width == width]
        for union in (it for it in fitting if it.is_union):
            if all(kind in union.kinds for kind in kinds):
                return [union] * len(kinds)
        chosen = []
        for index, kind in enumerate(kinds):
            single = next((it for it in fitting if not it.is_union and kind in it.kinds), None)
            if single is None:
                raise InvalidRequest(
                    f"parameters.control_images[{index}].kind",
                    f"No ControlNet for {kind.value} is installed that fits {title}; {_advice(family, kind)}.",
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
        is_union = "Union" in str(config.get("_class_name", ""))
        kinds = (
            tuple(
                kind
                for kind, mode in UNION_MODES.items()
                if mode < int(config.get("num_control_type", 6))
            )
            if is_union
            else _kinds_of(f"{folder.name} {told.get('title', '')}", told)
        )
        width = int(config.get("cross_attention_dim") or 0)
    except (ValueError, OSError, AttributeError, TypeError):
        return None
    return ControlFile(folder.name, folder, kinds, width, is_union)


def _kinds_of(name: str, told: Any) -> tuple[ControlKind, ...]:
    """`controls` in profile.json, else what the name says."""
    if told.get("controls"):
        return tuple(ControlKind(it) for it in told["controls"])
    return tuple(kind for kind, words in _WORDS.items() if any(it in name.lower() for it in words))
