"""Starts `scumble serve` for the artist, and stops what it started. For applications with a Start button."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

from scumble.client.errors import CannotStart


class ServerProcess:
    """A server started from here. It ends with the application: jobs are durable, so nothing is lost."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._log: Path | None = None

    @property
    def running(self) -> bool:
        """Whether the server started from here lives."""
        return self._process is not None and self._process.poll() is None

    def start(self, command: str, data_dir: Path | None, log: Path) -> None:
        """Starts `command serve` and returns at once. Raises CannotStart where there is no such command.

        command: the `scumble` command, a path or a name; "" looks for it on the PATH, then beside this Python, as in
        a virtual environment that was not activated. log: receives its output.
        """
        if self.running:
            return
        program = shutil.which(command or "scumble")
        if program is None and not command:
            program = shutil.which("scumble", path=str(Path(sys.executable).parent))
        if program is None:
            raise CannotStart(
                f"There is no command {command or 'scumble'!r}: install Scumble's server, and give the path of its "
                "`scumble` command in the preferences."
            )
        arguments = [program, "serve"]
        if data_dir is not None:
            arguments += ["--data-dir", str(data_dir)]
        # The application's own Python must not leak into the server's.
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONHOME", "PYTHONPATH")}
        no_window: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # Windows only
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                creationflags=no_window,
            )
        self._log = log

    def last_words(self) -> str:
        """The last line of a server that was started from here and has ended; else ""."""
        if self._process is None or self._log is None or self.running:
            return ""
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else f"it ended with exit status {self._process.returncode}"

    def stop_soon(self) -> None:
        """`stop` on a thread of its own."""
        threading.Thread(target=self.stop, name="scumble-stop", daemon=True).start()

    def stop(self, seconds: float = 5.0) -> None:
        """Asks the server to end and waits so long; then ends it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
