"""scumble upscale: a larger picture with the same content."""

from __future__ import annotations

from pathlib import Path

from core_server.commands.later import not_yet
from core_server.commands.options import Subparsers, add_command, add_output, add_server_options


def register(subparsers: Subparsers) -> None:
    """Adds the command."""
    parser = add_command(
        subparsers,
        "upscale",
        not_yet("Enlarging a picture"),
        "enlarge a picture (not in this version yet)",
        examples="  scumble upscale photo.png -o large.png --factor 2\n",
    )
    parser.add_argument("image", type=Path, metavar="IMAGE")
    add_output(parser)
    parser.add_argument("--factor", type=int, choices=(2, 4), default=2)
    add_server_options(parser)
