"""scumble serve: the server, until Ctrl-C."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from core_server.commands.options import Subparsers, add_command, model_name
from core_server.config import (
    DEFAULT_HOST,
    DEFAULT_PORT,
    Limits,
    ServerConfig,
    data_dir_from_environment,
)

if TYPE_CHECKING:
    import asyncio

_EXAMPLES = """\
  scumble serve
  scumble serve --model ~/models/my-sd15 --device cuda:0
  scumble serve --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem
"""


def register(subparsers: Subparsers) -> None:
    """Adds the command."""
    limits = Limits()
    parser = add_command(
        subparsers, "serve", run, "run the server until Ctrl-C", examples=_EXAMPLES
    )
    parser.add_argument(
        "--host", default=DEFAULT_HOST, help="address to listen on (default %(default)s)"
    )
    parser.add_argument(
        "--port",
        type=int,
        default=DEFAULT_PORT,
        help="port, 0 for any free one (default %(default)s)",
    )
    parser.add_argument(
        "--model",
        default="default",
        metavar="ID|DIR",
        help="the model for requests that name none: an installed one, a diffusers folder or a .safetensors file",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="token, jobs, results, models, logs"
    )
    parser.add_argument(
        "--engine", default="local", choices=("local", "ray"), help="what runs the pipelines"
    )
    parser.add_argument(
        "--tls-cert", type=Path, metavar="FILE", help="PEM certificate, for other computers"
    )
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its PEM key")
    parser.add_argument(
        "--keep-gib",
        type=float,
        default=limits.max_store_bytes / 2**30,
        metavar="N",
        help="GiB of results to keep; the oldest go first (default %(default)g)",
    )
    parser.add_argument(
        "--keep-days",
        type=float,
        default=limits.max_result_age_seconds / 86400,
        metavar="N",
        help="days to keep results (default %(default)g)",
    )
    # For commands that start a server for themselves: it must not outlive them, however they end.
    parser.add_argument("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    """Serves."""
    import asyncio  # noqa: PLC0415 - half of what `scumble --help` would import

    limits = dataclasses.replace(
        Limits(),
        max_store_bytes=int(options.keep_gib * 2**30),
        max_result_age_seconds=int(options.keep_days * 86400),
    )
    config = ServerConfig(
        data_dir=options.data_dir or data_dir_from_environment(),
        host=options.host,
        port=options.port,
        model=model_name(options.model),
        device=options.device,
        engine=options.engine,
        tls_cert=options.tls_cert,
        tls_key=options.tls_key,
        limits=limits,
    )
    asyncio.run(_serve(config, options.until_stdin_closes))
    return 0


async def _serve(config: ServerConfig, until_stdin_closes: bool) -> None:
    import asyncio  # noqa: PLC0415

    from core_server.serve import serve  # noqa: PLC0415

    serving = asyncio.create_task(
        serve(config, lambda address: _announce(address, config.data_dir))
    )
    if until_stdin_closes:
        loop = asyncio.get_running_loop()
        waiting = threading.Thread(target=_wait_for_end_of_stdin, args=(loop, serving), daemon=True)
        waiting.start()
    with suppress(asyncio.CancelledError):
        await serving


def _announce(address: str, data_dir: Path) -> None:
    print(f"Scumble listens on {address}; its data is in {data_dir}. Ctrl-C stops it.", flush=True)


def _wait_for_end_of_stdin(loop: asyncio.AbstractEventLoop, serving: asyncio.Task[None]) -> None:
    # os.read and not sys.stdin: a daemon thread inside a buffered reader breaks the interpreter's end.
    with suppress(OSError, RuntimeError):  # RuntimeError: the server has ended by itself meanwhile
        while os.read(sys.stdin.fileno(), 4096):
            pass
        loop.call_soon_threadsafe(serving.cancel)
