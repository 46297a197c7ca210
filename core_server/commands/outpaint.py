"""scumble outpaint: continue a picture beyond its border."""

from __future__ import annotations

from pathlib import Path

from core_server.commands.later import not_yet
from core_server.commands.options import (
    Subparsers,
    add_command,
    add_generation_options,
    add_output,
    add_server_options,
)


def register(subparsers: Subparsers) -> None:
    """Adds the command."""
    parser = add_command(
        subparsers,
        "outpaint",
        not_yet("Continuing a picture beyond its border"),
        "continue a picture beyond its border (not in this version yet)",
        examples='  scumble outpaint photo.png "a wide beach" -o wide.png --left 200 --right 200\n',
    )
    parser.add_argument("image", type=Path, metavar="IMAGE")
    parser.add_argument("prompt", metavar="PROMPT")
    add_output(parser)
    for side in ("left", "right", "top", "bottom"):
        parser.add_argument(f"--{side}", type=int, default=0, metavar="N", help="px to add there")
    add_generation_options(parser)
    add_server_options(parser)
