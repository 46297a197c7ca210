"""scumble maps: material maps from a picture."""

from __future__ import annotations

from pathlib import Path

from core_server.commands.later import not_yet
from core_server.commands.options import Subparsers, add_command, add_server_options


def register(subparsers: Subparsers) -> None:
    """Adds the command."""
    parser = add_command(
        subparsers,
        "maps",
        not_yet("Making material maps from a picture"),
        "height, normal, roughness and ambient occlusion from a picture (not in this version yet)",
        examples="  scumble maps bricks.png -o bricks/\n",
    )
    parser.add_argument("image", type=Path, metavar="IMAGE")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="where the maps go"
    )
    add_server_options(parser)
