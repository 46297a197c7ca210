"""What could be installed: files, licence and size, known before anything is fetched."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from core_server.pipelines.sources.licences import Licence


class Shelf(StrEnum):
    """Folders of the data folder that things are installed into."""

    MODELS = "models"
    ADAPTERS = "adapters"
    CONTROLS = "controls"
    REFERENCES = "references"


@dataclass(frozen=True, slots=True)
class OfferedFile:
    """path: where it goes, relative to what is installed. url: where it comes from; a `file:` path is copied.

    size in bytes, 0 if unknown. sha256: in hex; git_sha1: of the git blob, for small files; "" if nobody has told.
    """

    path: str
    url: str
    size: int
    sha256: str = ""
    git_sha1: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """name: the name it will have. source: what was asked for, with revision. single: one file, not a folder.

    shelf: None until the file's bytes tell whether it is a model or an adapter. details: more fields of profile.json.
    """

    name: str
    source: str
    title: str
    licence: Licence
    files: tuple[OfferedFile, ...]
    shelf: Shelf | None = None
    single: bool = False
    family: str = ""
    url: str = ""
    details: tuple[tuple[str, object], ...] = ()

    @property
    def size_bytes(self) -> int:
        """Of all files; 0 while one is unknown."""
        sizes = [file.size for file in self.files]
        return sum(sizes) if all(sizes) else 0


@dataclass(frozen=True, slots=True)
class Progress:
    """Bytes of total_bytes are here (0 in all: unknown); stage for people."""

    done_bytes: int
    total_bytes: int
    stage: str


@dataclass(frozen=True, slots=True)
class Installed:
    """What was installed, and where."""

    name: str
    shelf: Shelf
    path: Path
