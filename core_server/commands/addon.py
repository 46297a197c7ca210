"""scumble addon: builds and installs the host add-ons."""

from __future__ import annotations

from core_server.commands.later import not_yet
from core_server.commands.options import Subparsers, add_command


def register(subparsers: Subparsers) -> None:
    """Adds the command."""
    parser = add_command(
        subparsers,
        "addon",
        not_yet("Building and installing the add-ons by command"),
        "build or install the Blender and Photoshop add-ons (not in this version yet)",
        examples="  scumble addon blender build\n",
    )
    parser.add_argument("host", choices=("blender", "photoshop"))
    parser.add_argument("action", choices=("build", "install"))
