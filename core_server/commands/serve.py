"""scumble serve: the server, until Ctrl-C."""

from __future__ import annotations

import argparse
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
    ServerConfig,
    data_dir_from_environment,
)

if TYPE_CHECKING:
    import asyncio

_EXAMPLES = """\
  scumble serve
  scumble serve --model ~/models/my-sd15 --device cuda:0
  scumble serve --host 0.0.0.0 --tls        for other computers; then: scumble token add NAME --pair HOST:PORT
  scumble serve --rotate-token              the old token counts no more
"""


def register(subparsers: Subparsers) -> None:
    """Adds the command. What is not given here comes from config.toml, and then from the defaults."""
    parser = add_command(
        subparsers, "serve", run, "run the server until Ctrl-C", examples=_EXAMPLES
    )
    add = parser.add_argument
    add("--host", help=f"address to listen on (default {DEFAULT_HOST})")
    add("--port", type=int, help=f"port, 0 for any free one (default {DEFAULT_PORT})")
    add(
        "--model",
        metavar="ID|DIR",
        help="the model for requests that name none: an installed one, a diffusers folder or a .safetensors file",
    )
    add("--device", help="auto (the default), cpu, cuda, cuda:N or mps")
    add("--data-dir", type=Path, metavar="DIR", help="token, jobs, results, models, logs")
    add("--config", type=Path, metavar="FILE", help="instead of config.toml in the data folder")
    add(
        "--engine",
        choices=("local", "ray"),
        help="what runs the pipelines (default local); ray is not in this version",
    )
    secure = parser.add_argument_group("other computers")
    secure.add_argument(
        "--tls",
        action="store_const",
        const=True,
        help="encrypt, with a certificate of the server's own that is pinned at pairing",
    )
    secure.add_argument("--tls-cert", type=Path, metavar="FILE", help="your own PEM certificate")
    secure.add_argument("--tls-key", type=Path, metavar="FILE", help="its PEM key")
    secure.add_argument(
        "--tls-client-ca",
        type=Path,
        metavar="FILE",
        help="let in only clients with a certificate of these authorities, besides their token",
    )
    secure.add_argument(
        "--rotate-token", action="store_true", help="make a new token for this computer first"
    )
    kept = parser.add_argument_group("limits; all others stand in config.toml")
    kept.add_argument(
        "--keep-gib", type=float, metavar="N", help="GiB of results to keep; the oldest go first"
    )
    kept.add_argument("--keep-days", type=float, metavar="N", help="days to keep results")
    add(
        "--metrics-port",
        type=int,
        metavar="N",
        help="OpenMetrics on http://127.0.0.1:N/metrics, for monitoring",
    )
    # For commands that start a server for themselves: it must not outlive them, however they end.
    parser.add_argument("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    """Serves."""
    import asyncio  # noqa: PLC0415 - half of what `scumble --help` would import

    from core_server.config_file import read_config  # noqa: PLC0415

    gib, days = options.keep_gib, options.keep_days
    config = read_config(
        options.data_dir or data_dir_from_environment(),
        options.config,
        host=options.host,
        port=options.port,
        model=None if options.model is None else model_name(options.model, options.data_dir),
        device=options.device,
        engine=options.engine,
        tls=options.tls,
        tls_cert=options.tls_cert,
        tls_key=options.tls_key,
        tls_client_ca=options.tls_client_ca,
        metrics_port=options.metrics_port,
        max_store_bytes=None if gib is None else int(gib * 2**30),
        max_result_age_seconds=None if days is None else int(days * 86400),
    )
    if options.rotate_token:
        _rotate(config)
    asyncio.run(_serve(config, options.until_stdin_closes))
    return 0


def _rotate(config: ServerConfig) -> None:
    from core_server.rpc.tokens import TokenBook  # noqa: PLC0415
    from core_server.serve import make_data_dir  # noqa: PLC0415

    make_data_dir(config.data_dir)
    TokenBook(config.data_dir).rotate()
    print(f"There is a new token in {config.data_dir / 'token'}; the old one counts no more.")


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
