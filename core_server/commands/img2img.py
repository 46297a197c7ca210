"""scumble img2img: repaint a whole picture."""

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
  scumble img2img sketch.png "a castle on a hill, oil painting" -o castle.png --strength 0.7
  scumble img2img wall.tif "old plaster" -o plaster.tif --strength 0.4     keeps depth, alpha and profile
"""


def register(subparsers: Subparsers) -> None:
    """Adds the command."""
    parser = add_command(subparsers, "img2img", run, "repaint a whole picture", examples=_EXAMPLES)
    parser.add_argument("image", type=Path, metavar="IMAGE", help="the picture to start from")
    parser.add_argument("prompt", metavar="PROMPT", help="what to paint")
    add_output(parser)
    parser.add_argument(
        "--strength",
        type=float,
        required=True,
        metavar="X",
        help="denoising strength, above 0 (as it is) to 1 (all new)",
    )
    add_generation_options(parser)
    add_server_options(parser)


def run(options: argparse.Namespace) -> int:
    """Repaints."""
    from core_server.commands.painting import paint_whole  # noqa: PLC0415
    from scumble.client import ImageToImage, Pixels  # noqa: PLC0415

    def request(pixels: Pixels) -> ImageToImage:
        return ImageToImage(
            options.prompt, pixels, strength=options.strength, **common_settings(options)
        )

    return paint_whole(options, request)
