"""Compiled programs on disk: a folder each, found by digest, bounded; the one used longest ago goes first."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path

MAX_BYTES = 1024 * 1024 * 1024
_MANIFEST = "program.json"
_CODE = "code"


class ProgramStore:
    """The folder of one data folder. Several processes may use it."""

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    @property
    def folder(self) -> Path:
        """Where everything is."""
        return self._folder

    def code(self, digest: str) -> Path:
        """Where a program's code is, or is to be."""
        return self._folder / digest / _CODE

    def results(self, digest: str) -> str | None:
        """How the results of a finished program look, as `compiled_graph.traced` says; None if it is not there."""
        try:
            text = (self._folder / digest / _MANIFEST).read_text(encoding="utf-8")
            return str(json.loads(text)["results"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def finish(self, digest: str, results: str) -> None:
        """Says that a program's code is complete."""
        text = json.dumps({"results": results})
        (self._folder / digest / _MANIFEST).write_text(text, encoding="utf-8")

    def touch(self, digest: str) -> None:
        """Notes that a program is used now."""
        with suppress(OSError):
            (self._folder / digest / _MANIFEST).touch()

    def drop(self, digest: str) -> None:
        """Removes a program."""
        shutil.rmtree(self._folder / digest, ignore_errors=True)

    def trim(self, used: frozenset[str] = frozenset()) -> None:
        """Removes what nobody used for longest, until the rest is within the bound. used: stays, whatever it takes."""
        sizes = {}
        with suppress(OSError):
            for program in self._folder.iterdir():
                if program.is_dir():
                    sizes[program] = sum(
                        it.stat().st_size for it in program.rglob("*") if it.is_file()
                    )
        total = sum(sizes.values())
        for program in sorted(sizes, key=_used_at):
            if total <= self._max_bytes:
                return
            if program.name not in used:
                self.drop(program.name)
                total -= sizes[program]


def _used_at(program: Path) -> float:
    with suppress(OSError):
        return (program / _MANIFEST).stat().st_mtime
    return 0.0
