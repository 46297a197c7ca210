"""Names of what is installed: they become names of files, so nothing in them may lead anywhere else."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from core_server.errors import InvalidRequest, ModelLoadFailed

MAX_NAME_CHARS = 100
_ALLOWED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_DEVICES = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{it}{n}" for it in ("com", "lpt") for n in range(1, 10)),
}
RESERVED = ("default", "tiny")


def checked_name(name: str, field: str = "name") -> str:
    """`name`, if it can be a file's name everywhere. Errors: InvalidRequest."""
    bad = (
        len(name) > MAX_NAME_CHARS
        or not _ALLOWED.fullmatch(name)
        or name.endswith(".")
        or name.partition(".")[0].lower() in _DEVICES
        or name in RESERVED
    )
    if bad:
        raise InvalidRequest(
            field,
            f"{name[:MAX_NAME_CHARS]!a} cannot be a name here; use up to {MAX_NAME_CHARS} letters, digits, '.', "
            "'_', '+' and '-', beginning with a letter or digit.",
            allowed="letters, digits, . _ + -",
        )
    return name


def name_from(text: str) -> str:
    """A name made from a title, a file's name or a Hub id. Errors: InvalidRequest when nothing is left of it."""
    stem = text.rstrip("/").rpartition("/")[2]
    for suffix in (".safetensors", ".gguf"):
        stem = stem.removesuffix(suffix)
    return checked_name(re.sub(r"[^A-Za-z0-9._+-]+", "-", stem).strip("-.+_")[:MAX_NAME_CHARS])


def inside(folder: Path, relative: str) -> Path:
    """`folder` / `relative`, which must not lead out of it. Errors: ModelLoadFailed."""
    path = PurePosixPath(relative)
    if (
        not relative
        or path.is_absolute()
        or ".." in path.parts
        or "\\" in relative
        or ":" in relative
        or "\0" in relative
    ):
        raise ModelLoadFailed(
            f"The source names the file {relative!a}, which would lie outside the model's folder; nothing of it "
            "is installed."
        )
    return folder.joinpath(*path.parts)
