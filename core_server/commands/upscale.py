"""scumble upscale: a larger picture with the same content."""

from __future__ import annotations

import argparse
from pathlib import Path

from core_server.commands.options import (
    Subparsers,
    add_command,
    add_generation_options,
    add_output,
    add_server_options,
    common_settings,
)

_EXAMPLES = """\
  scumble upscale photo.png -o large.png
  scumble upscale wall.png "old plaster" -o wall-4x.png --factor 4 --seamless xy
  scumble upscale photo.png -o large.png --strength 0     resample alone
"""
_DESCRIPTION = """\
Enlarge a picture 2 or 4 times: it is resampled, then its detail is painted tile by tile at low strength. Colours and
shapes stay the picture's; depth, alpha, profile and seamless axes are kept.
"""


def register(subparsers: Subparsers) -> None:
    """Adds the command."""
    parser = add_command(
        subparsers,
        "upscale",
        run,
        "enlarge a picture",
        examples=_EXAMPLES,
        description=_DESCRIPTION,
    )
    parser.add_argument("image", type=Path, metavar="IMAGE", help="the picture")
    parser.add_argument(
        "prompt", nargs="?", default="", metavar="PROMPT", help="what it shows; may be left out"
    )
    add_output(parser)
    parser.add_argument("--factor", type=int, choices=(2, 4), default=2, help="default 2")
    parser.add_argument(
        "--strength",
        type=float,
        default=0.3,
        metavar="X",
        help="how much detail is invented, 0 (resample alone) to 1; default 0.3",
    )
    add_generation_options(parser)
    add_server_options(parser)


def run(options: argparse.Namespace) -> int:
    """Sends the picture, writes the larger one."""
    from core_server.commands.painting import paint_whole  # noqa: PLC0415
    from scumble.client import Pixels, Upscale  # noqa: PLC0415

    def request(pixels: Pixels) -> Upscale:
        return Upscale(
            pixels, options.factor, options.prompt, options.strength, **common_settings(options)
        )

    return paint_whole(options, request)
