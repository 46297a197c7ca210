"""scumble addon: builds and installs the host add-ons."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from core_server.commands.errors import CommandError, NotInThisVersion, last_words
from core_server.commands.options import Subparsers, add_command

_EXAMPLES = """\
  scumble addon blender build --out dist       the extension's zip, for all platforms
  scumble addon blender install                build it and install it into the Blender on the PATH
"""


def register(subparsers: Subparsers) -> None:
    """Adds the command."""
    parser = add_command(
        subparsers, "addon", run, "build or install the Blender extension", examples=_EXAMPLES
    )
    parser.add_argument(
        "host", choices=("blender", "photoshop"), help="photoshop: not in this version yet"
    )
    parser.add_argument("action", choices=("build", "install"))
    parser.add_argument(
        "--out", type=Path, default=Path("dist"), metavar="DIR", help="where the zip goes"
    )
    parser.add_argument(
        "--blender", default="blender", metavar="FILE", help="the Blender to install into"
    )


def run(options: argparse.Namespace) -> int:
    """Hands over to the add-on's own packager, which runs apart: server and add-ons never import each other."""
    if options.host == "photoshop":
        raise NotInThisVersion("Building and installing the Photoshop plugin by command")
    command = [sys.executable, "-m", "blender_addon.package", "--out", str(options.out)]
    command += ["--platform", "all" if options.action == "build" else "current"]
    if options.action == "install":
        command += ["--install", options.blender]
    outcome = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if outcome.returncode:
        raise CommandError(last_words(outcome.stderr))
    return 0
