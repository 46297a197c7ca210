"""scumble pair: use the server of another computer."""

from __future__ import annotations

import argparse
from pathlib import Path

from core_server.commands.errors import CommandError
from core_server.commands.options import Subparsers, add_command
from core_server.config import data_dir_from_environment

_EXAMPLES = """\
  scumble pair scumble1-WyIxOTIu...        the code from `scumble token add NAME --pair HOST:PORT` over there
  scumble pair --forget 192.168.1.20:47110
"""


def register(subparsers: Subparsers) -> None:
    """Adds the command."""
    parser = add_command(
        subparsers,
        "pair",
        run,
        "use the server of another computer",
        examples=_EXAMPLES,
        description="Checks the other server's certificate against the code, keeps both, and from then on every tool "
        "here uses that server while none runs on this computer. SCUMBLE_SERVER chooses among several.",
    )
    parser.add_argument("code", nargs="?", metavar="CODE", help="the pairing code")
    parser.add_argument("--forget", metavar="HOST:PORT", help="forget a server instead")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="where to keep it")


def run(options: argparse.Namespace) -> int:
    """Pairs, or forgets."""
    from scumble.client import connect  # noqa: PLC0415 - `--help` does without it
    from scumble.client.pairing import forget, pair  # noqa: PLC0415

    data_dir = options.data_dir or data_dir_from_environment()
    if options.forget:
        if not forget(options.forget, data_dir):
            raise CommandError(f"No server at {options.forget} was paired with this computer.")
        print(f"{options.forget} is forgotten.")
        return 0
    if not options.code:
        raise CommandError("Give the pairing code, or --forget HOST:PORT.")
    pairing = pair(options.code, data_dir)
    with connect(pairing.address, data_dir=data_dir) as client:
        info = client.server_info()
    print(f"Paired with Scumble {info.version} at {info.address}, as {info.token_name}.")
    return 0
