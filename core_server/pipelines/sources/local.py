"""What a file or folder of this computer offers. It is copied: its owner may do with it what they like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from core_server.errors import ModelLoadFailed, SourceNotFound
from core_server.pipelines.sources.choice import CONFIG, MODEL_INDEX, chosen_files
from core_server.pipelines.sources.licences import UNKNOWN
from core_server.pipelines.sources.names import name_from
from core_server.pipelines.sources.offer import Offer, OfferedFile
from core_server.pipelines.sources.weights import read_header, refuse_pickle_name


def local_offer(path: Path, name: str = "") -> Offer:
    """A weights file, a diffusers folder, or the folder of a network that works beside a model.

    Errors: SourceNotFound, ModelLoadFailed, InvalidRequest for a name that cannot be one.
    """
    refuse_pickle_name(path.name)
    if path.is_dir():
        return _folder(path.resolve(), name)
    if not path.is_file():
        raise SourceNotFound(
            f"There is no file {path}; give a .safetensors or .gguf file, or a diffusers folder."
        )
    read_header(path)
    name = name or name_from(path.name)
    file = OfferedFile(f"{name}{path.suffix}", path.resolve().as_uri(), path.stat().st_size)
    return Offer(
        name=name, source=path.name, title=path.stem, licence=UNKNOWN, files=(file,), single=True
    )


def _folder(path: Path, name: str) -> Offer:
    # Looked at before the rest of it, which may be somebody's whole disk.
    if not any((path / it).is_file() for it in (MODEL_INDEX, CONFIG)):
        raise ModelLoadFailed(
            f"The folder {path} is no model: it has no {MODEL_INDEX}, which every diffusers folder has; give that "
            "folder, or one .safetensors or .gguf file."
        )
    names = sorted(
        it.relative_to(path).as_posix()
        for it in (*path.glob("*"), *path.glob("*/*"))
        if it.is_file()
    )
    chosen, single, shelf = chosen_files(str(path), names, lambda it: _json(path / it))
    if single:
        return local_offer(path / chosen[0], name)
    # Files of the Hub's cache are links; what they lead to is copied.
    files = tuple(
        OfferedFile(it, (path / it).resolve().as_uri(), (path / it).stat().st_size) for it in chosen
    )
    return Offer(
        name=name or name_from(path.name),
        source=path.name,
        title=path.name,
        licence=UNKNOWN,
        files=files,
        shelf=shelf,
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ModelLoadFailed(f"{path.name} of {path.parent} is no JSON object; get it again.")
    return value
