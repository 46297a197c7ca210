"""scumble outpaint: continue a picture beyond its border."""

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

SIDES = ("left", "right", "top", "bottom")
FILLS = ("auto", "blur", "neutral", "border", "structure")
STRENGTH = 0.85
"""The contract's. At 1 painting starts from noise alone: neither lines nor colours of the picture are led on."""
_EXAMPLES = """\
  scumble outpaint photo.png "a wide beach" -o wide.png --left 200 --right 200
  scumble outpaint tile.png "gravel" -o larger.png --right 256 --seamless xy     the larger tile tiles too
"""
_DESCRIPTION = """\
Continue a picture beyond its border by any number of px a side. Its own pixels stay bit-identical (in files that
compress without loss); what is added is opaque.
"""


def register(subparsers: Subparsers) -> None:
    """Adds the command."""
    parser = add_command(
        subparsers,
        "outpaint",
        run,
        "continue a picture beyond its border",
        examples=_EXAMPLES,
        description=_DESCRIPTION,
    )
    parser.add_argument("image", type=Path, metavar="IMAGE", help="the picture")
    parser.add_argument("prompt", metavar="PROMPT", help="what it shows")
    add_output(parser)
    for side in SIDES:
        parser.add_argument(f"--{side}", type=int, default=0, metavar="N", help="px to add there")
    parser.add_argument(
        "--strength",
        type=float,
        default=STRENGTH,
        metavar="X",
        help="denoising strength, above 0 to 1: how far to go from the fill; default %(default)s, so that lines "
        "and colours are led on; 1 starts from noise alone",
    )
    parser.add_argument(
        "--fill",
        choices=FILLS,
        default="auto",
        help="what the new parts start from; auto: pieces of the picture (structure)",
    )
    add_generation_options(parser)
    add_server_options(parser)


def run(options: argparse.Namespace) -> int:
    """Sends the picture, writes the larger one."""
    from core_server.commands.painting import paint_whole  # noqa: PLC0415
    from scumble.client import Outpaint, Pixels  # noqa: PLC0415

    def request(pixels: Pixels) -> Outpaint:
        return Outpaint(
            options.prompt,
            pixels,
            **{side: getattr(options, side) for side in SIDES},
            strength=options.strength,
            fill=options.fill,
            **common_settings(options),
        )

    return paint_whole(options, request)
