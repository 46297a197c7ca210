"""LoRAs and textual inversions in the data folder: `adapters/NAME.safetensors`. Free of torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from core_server.errors import InvalidRequest, ModelLoadFailed
from core_server.pipelines.request import AdapterKind
from core_server.pipelines.sources.recognise import ARCHITECTURES, FileKind, recognise
from core_server.pipelines.sources.weights import PICKLE_SUFFIXES, read_header

FOLDER = "adapters"
SUFFIX = ".safetensors"
_KINDS = {
    FileKind.LORA: AdapterKind.LORA,
    FileKind.TEXTUAL_INVERSION: AdapterKind.TEXTUAL_INVERSION,
}
_TITLES = {AdapterKind.LORA: "LoRA", AdapterKind.TEXTUAL_INVERSION: "textual inversion"}
_MAX_TRIGGERS = 8


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """family: as `Family.adapters` names it, "" if the file does not tell. license: "unknown" where nobody has told."""

    name: str
    path: Path
    kind: AdapterKind
    family: str
    trigger_words: tuple[str, ...]
    size_bytes: int
    license: str = "unknown"


class AdapterShelf:
    """The adapters of a data folder."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / FOLDER

    def all(self) -> tuple[AdapterFile, ...]:
        """Every adapter that can be read, by name."""
        if not self._folder.is_dir():
            return ()
        found = []
        for path in sorted(self._folder.rglob(f"*{SUFFIX}")):
            try:
                found.append(self._read(path))
            except (ModelLoadFailed, OSError):  # such as a link to what is gone
                continue
        return tuple(found)

    def find(self, kind: AdapterKind, name: str, field: str) -> AdapterFile:
        """The adapter of that name. Errors: InvalidRequest, ModelLoadFailed for a file that is none."""
        title = _TITLES[kind]
        plain = name.removesuffix(SUFFIX)
        parts = plain.replace("\\", "/").split("/")
        path = self._folder.joinpath(*parts[:-1], parts[-1] + SUFFIX)
        if not all(parts) or any(part.startswith((".", "~")) or ":" in part for part in parts):
            raise InvalidRequest(
                field,
                f"{name!r} is no name of a {title}; give its name in the data folder's `adapters`.",
            )
        if not path.is_file():
            pickles = [self._folder / f"{plain}{suffix}" for suffix in PICKLE_SUFFIXES]
            if any(it.is_file() for it in (*pickles, self._folder / name)):
                raise InvalidRequest(
                    field,
                    f"The {title} {name!r} is a pickle, which can run code when it is loaded; convert it to "
                    "safetensors on a machine where running its code does no harm (docs/models.md has ten "
                    "lines that do it: torch.load with weights_only, then safetensors.torch.save_file).",
                )
            there = [it.name for it in self.all() if it.kind is kind]
            known = f"there are {', '.join(there)}" if there else "there is none yet"
            raise InvalidRequest(
                field,
                f"There is no {title} {name!r} in the data folder's `adapters`; {known}. Put the .safetensors file "
                "there, or use `scumble models install`.",
                allowed=", ".join(there),
            )
        found = self._read(path)
        if found.kind is not kind:
            raise InvalidRequest(
                field, f"{name!r} is a {_TITLES[found.kind]}, not a {title}; name it as what it is."
            )
        return found

    def _read(self, path: Path) -> AdapterFile:
        stat = path.stat()
        name = path.relative_to(self._folder).as_posix().removesuffix(SUFFIX)
        return _adapter(name, path, stat.st_size, stat.st_mtime_ns)


def require_family(adapter: AdapterFile, family: str, title: str, field: str) -> None:
    """Refuses an adapter that was made for another family. family: `Family.adapters`; title: of the model's family.

    Errors: InvalidRequest.
    """
    if adapter.family and adapter.family != family:
        made_for = ARCHITECTURES.get(adapter.family, adapter.family)
        raise InvalidRequest(
            field,
            f"The {_TITLES[adapter.kind]} {adapter.name!r} was made for {made_for} and does not fit {title}; choose a "
            "model of its family, or leave it out.",
        )


@lru_cache(maxsize=1024)
def _adapter(name: str, path: Path, size: int, _changed: int) -> AdapterFile:
    header = read_header(path)
    found = recognise(header)
    if found.kind not in _KINDS:
        raise ModelLoadFailed(
            f"{path.name} in `adapters` is {found.title}, neither a LoRA nor a textual inversion."
        )
    beside = path.with_suffix(".json")
    told: dict[str, Any] = {}
    if beside.is_file():
        try:
            told = json.loads(beside.read_text(encoding="utf-8"))
        except (ValueError, OSError):
            told = {}
    kind = _KINDS[found.kind]
    words = _trigger_words(header.metadata)
    if kind is AdapterKind.TEXTUAL_INVERSION:
        words = (token_of(name),)
    return AdapterFile(
        name=name,
        path=path,
        kind=kind,
        family=found.architecture,
        trigger_words=words,
        size_bytes=size,
        license=str(told.get("license", "unknown")) if isinstance(told, dict) else "unknown",
    )


def token_of(name: str) -> str:
    """The word that stands for a textual inversion in a prompt."""
    return f"<{name.rpartition('/')[2]}>"


def _trigger_words(metadata: Any) -> tuple[str, ...]:
    """What the author says, else the commonest tags that the training tool counted."""
    told = metadata.get("modelspec.trigger_phrase") or metadata.get("trigger_words") or ""
    if told:
        return tuple(word.strip() for word in told.split(",") if word.strip())[:_MAX_TRIGGERS]
    try:
        counted = json.loads(metadata.get("ss_tag_frequency", "{}"))
        totals: dict[str, int] = {}
        for tags in counted.values():
            for tag, count in tags.items():
                totals[tag.strip()] = totals.get(tag.strip(), 0) + int(count)
    except (ValueError, AttributeError, TypeError):
        return ()
    ranked: Sequence[str] = sorted(totals, key=lambda tag: (-totals[tag], tag))
    return tuple(tag for tag in ranked if tag)[:_MAX_TRIGGERS]
