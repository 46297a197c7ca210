"""scumble addon: builds and installs the host add-ons."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from core_server.commands.errors import CommandError, last_words
from core_server.commands.options import Subparsers, add_command

_EXAMPLES = """\
  scumble addon blender build --out dist       the extension's zip, for all platforms
  scumble addon blender install                build it and install it into the Blender on the PATH
  scumble addon photoshop install              put the Photoshop panel into the start menu (Windows)
"""


def register(subparsers: Subparsers) -> None:
    """Adds the command."""
    parser = add_command(
        subparsers,
        "addon",
        run,
        "build or install the add-ons for Blender and Photoshop",
        examples=_EXAMPLES,
    )
    parser.add_argument("host", choices=("blender", "photoshop"), help="the program it is for")
    parser.add_argument(
        "action",
        choices=("build", "install"),
        help="build: a zip to pass on (Blender); install: build it if need be, and put it in place",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("dist"), metavar="DIR", help="where Blender's zip goes"
    )
    parser.add_argument(
        "--blender", default="blender", metavar="FILE", help="the Blender to install into"
    )


def run(options: argparse.Namespace) -> int:
    """Hands over to the add-on's own program, which runs apart: server and add-ons never import each other."""
    command = _photoshop(options) if options.host == "photoshop" else _blender(options)
    outcome = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if outcome.returncode:
        raise CommandError(last_words(outcome.stderr))
    return 0


def _photoshop(options: argparse.Namespace) -> list[str]:
    if options.action == "build":
        raise CommandError(
            "For Photoshop there is nothing to build: its panel runs from here. `scumble addon photoshop install` puts "
            "it into the start menu."
        )
    return [sys.executable, "-m", "photoshop_plugin", "install"]


def _blender(options: argparse.Namespace) -> list[str]:
    command = [sys.executable, "-m", "blender_addon.package", "--out", str(options.out)]
    command += ["--platform", "all" if options.action == "build" else "current"]
    if options.action == "install":
        command += ["--install", options.blender]
    return command
