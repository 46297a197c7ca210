"""What a suite compares with, in a process of its own: it does its work once for each line and says the seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from core_server.benchmarks.setting import CannotMeasure

QUIET: Mapping[str, str] = {
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_OFFLINE": "1",
}
"""Environment in which the libraries say only what went wrong."""


@contextmanager
def other_side(
    module: str, *arguments: object, environment: Mapping[str, str] | None = None
) -> Iterator[Callable[[], float]]:
    """Runs a module of `core_server.benchmarks`; each call of the function is one piece of its work, in seconds.

    environment: all of it; None: ours and `QUIET`. Errors: CannotMeasure once the process has ended.
    """
    command = [sys.executable, "-m", f"core_server.benchmarks.{module}", *map(str, arguments)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **QUIET} if environment is None else dict(environment),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        talk, listen = process.stdin, process.stdout

        def once() -> float:
            try:
                talk.write("once\n")
                talk.flush()
                line = listen.readline()
            except OSError:  # it died before it was asked
                line = ""
            if not line:
                raise CannotMeasure(f"{module} failed; its own message stands above.")
            return float(line)

        try:
            yield once
        finally:
            with suppress(OSError):
                talk.close()
