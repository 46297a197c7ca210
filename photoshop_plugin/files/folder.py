"""Files one after the other, or a folder that is watched for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from photoshop_plugin.document import PlacedLayer
from photoshop_plugin.errors import PhotoshopError
from photoshop_plugin.files.psd import PsdFile
from photoshop_plugin.flow import Submitted, generate
from photoshop_plugin.server import Server
from photoshop_plugin.settings import Settings
from scumble.client import Event, InvalidRequest

SUFFIXES = (".psd", ".psb")

State = tuple[int, int]
"""Size in bytes, modification time in ns."""


def paint(
    paths: Iterable[Path],
    server: Server,
    settings: Settings,
    output_of: Callable[[Path], Path],
    *,
    selection: str = "",
    on_event: Callable[[Submitted | Event], None] = lambda event: None,
) -> Iterator[tuple[Path, list[PlacedLayer] | Exception]]:
    """Each file with its layers, or with the reason why there are none; one bad file does not hold up the others.

    Raises the tree of `scumble.client.errors` but for InvalidRequest, which is about one file.
    """
    for path in paths:
        try:
            host = PsdFile(path, output_of(path), selection=selection)
            host.require_possible(settings)
            yield path, generate(host, server, settings, on_event)
        except (PhotoshopError, InvalidRequest) as error:
            yield path, error


class Watch:
    """New and changed files of a folder. A file counts once it did not change between two looks.

    Files that are there already count too, unless their result is newer than they are.
    """

    def __init__(self, folder: Path, output_of: Callable[[Path], Path]) -> None:
        self._folder, self._output_of = folder, output_of
        self._last: dict[Path, State] = {}
        self._done: dict[Path, State] = {}

    def look(self) -> list[Path]:
        """Files to work on, by name; each only once unless it changes again. Raises OSError if the folder is gone."""
        found = {
            path: _state(path)
            for path in sorted(self._folder.iterdir())
            if path.suffix.lower() in SUFFIXES and path.is_file()
        }
        ready = []
        for path, state in found.items():
            settled = self._last.get(path) == state
            if settled and self._done.get(path) != state:
                self._done[path] = state
                output = self._output_of(path)
                if not output.exists() or output.stat().st_mtime_ns < state[1]:
                    ready.append(path)
        self._last = found
        return ready

    def forever(
        self, seconds: float, sleep: Callable[[float], None] = time.sleep
    ) -> Iterator[Path]:
        """Files as they come, looked for every so many seconds. Ends with KeyboardInterrupt."""
        while True:
            yield from self.look()
            sleep(seconds)


def _state(path: Path) -> State:
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns
