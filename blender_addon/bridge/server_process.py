"""The server that is started from Blender: the client library's own, imported when the artist first asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .errors import CannotStart

if TYPE_CHECKING:
    from scumble.client.server_process import ServerProcess as Process


class ServerProcess:
    """`scumble.client.server_process.ServerProcess` for a panel that asks after it at every redraw."""

    def __init__(self) -> None:
        self._process: Process | None = None

    @property
    def running(self) -> bool:
        """Whether the server started from here lives."""
        return self._process is not None and self._process.running

    def start(self, command: str, data_dir: Path | None, log: Path) -> None:
        """Starts `command serve` and returns at once. Raises CannotStart where there is no such command."""
        import scumble.client as scumble
        from scumble.client.server_process import ServerProcess as Process

        self._process = self._process or Process()
        try:
            self._process.start(command, data_dir, log)
        except scumble.CannotStart as error:
            raise CannotStart(str(error)) from error

    def last_words(self) -> str:
        """The last line of a server that was started from here and has ended; else ""."""
        return "" if self._process is None else self._process.last_words()

    def stop_soon(self) -> None:
        """`stop` on a thread of its own."""
        if self._process is not None:
            self._process.stop_soon()

    def stop(self) -> None:
        """Asks the server to end and waits a little; then ends it."""
        if self._process is not None:
            self._process.stop()
