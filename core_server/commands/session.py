"""The server a command talks to: the running one, or one of its own for as long as the command runs."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rich.console import Console

import scumble.client
from core_server.commands.errors import CommandError, last_words
from core_server.commands.options import model_name
from scumble.client import Client, NotRunning
from scumble.client.discovery import SERVER_VARIABLE

START_SECONDS = 60.0
STOP_SECONDS = 15.0
_POLL_SECONDS = 0.05


@contextmanager
def connected(options: argparse.Namespace) -> Iterator[Client]:
    """A client for the length of a block.

    options: those of `options.add_server_options`, and `model` where the command has it.
    Errors: CommandError, and the client's Unauthenticated and VersionMismatch.
    """
    client = running(options)
    if client is not None:
        with client:
            yield client
        return
    data_dir = options.data_dir or scumble.client.default_data_dir()
    model = getattr(options, "model", None) or ""
    with (
        _own_server(data_dir, options.device, model),
        scumble.client.connect(data_dir=data_dir) as client,
    ):
        yield client


def running(options: argparse.Namespace) -> Client | None:
    """A client of the server that runs; None where there is none, unless one is named. Errors: as `connected`."""
    try:
        return scumble.client.connect(options.server, data_dir=options.data_dir)
    except NotRunning:
        # An artist who names a server wants that one, with its GPU, or an error.
        if options.server or (options.data_dir is None and os.environ.get(SERVER_VARIABLE)):
            raise
    return None


@contextmanager
def _own_server(data_dir: Path, device: str, model: str) -> Iterator[None]:
    """A server of our own: on a free port, in a process group of its own, gone when the block is left."""
    command = [sys.executable, "-m", "core_server", "serve", "--port", "0", "--until-stdin-closes"]
    command += ["--device", device, "--data-dir", str(data_dir)]
    if model:
        command += ["--model", model_name(model, data_dir)]
    # Ctrl-C in the terminal is for this command, which still has a job to cancel through that server.
    apart: dict[str, Any] = (
        {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
        if os.name == "nt"
        else {"start_new_session": True}
    )
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, **apart)
        try:
            with Console(stderr=True).status("starting the server"):
                _wait_until_ready(process, data_dir, log)
            yield
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], data_dir: Path, log: IO[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while _announced_pid(data_dir) != process.pid:
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            why = last_words(log.read().decode(errors="replace"))
            raise CommandError(f"The server could not be started: {why}")
        time.sleep(_POLL_SECONDS)


def _announced_pid(data_dir: Path) -> int | None:
    try:
        pid = json.loads((data_dir / "server.json").read_text(encoding="utf-8"))["pid"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return int(pid)
