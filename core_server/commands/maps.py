"""scumble maps: material maps from a picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from core_server.commands.errors import CommandError
from core_server.commands.options import (
    SEAMLESS,
    Subparsers,
    add_command,
    add_map_options,
    add_priority,
    add_server_options,
    map_settings,
)

_EXAMPLES = """\
  scumble maps bricks.png                             bricks-normal.png, bricks-roughness.png ... beside it
  scumble maps photo.jpg -o maps --map normal --map height --height-bits 16
"""


def register(subparsers: Subparsers) -> None:
    """Adds the command."""
    parser = add_command(
        subparsers,
        "maps",
        run,
        "height, normal, roughness and ambient occlusion from a picture",
        examples=_EXAMPLES,
        description="Height, normal (OpenGL), roughness and ambient occlusion from a picture, as PNGs of its size.",
    )
    parser.add_argument("image", type=Path, metavar="PICTURE", help="the picture, of any size")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help="the folder for the maps, made if need be; beside the picture if left out",
    )
    add_map_options(parser, "all if left out")
    parser.add_argument(
        "--seamless",
        choices=SEAMLESS,
        help="axes along which the picture tiles, so that its maps tile too; if left out, its borders are looked at",
    )
    add_priority(parser)
    add_server_options(parser)


def run(options: argparse.Namespace) -> int:
    """Makes maps."""
    from core_server.commands.files import read_picture  # noqa: PLC0415
    from core_server.commands.output_files import HOLDS  # noqa: PLC0415
    from core_server.commands.painting import paint  # noqa: PLC0415
    from core_server.commands.session import connected  # noqa: PLC0415
    from scumble.client import MaterialMaps  # noqa: PLC0415

    picture = read_picture(options.image)
    folder = options.image.parent if options.output is None else options.output
    if folder.is_file() or (folder.suffix.lower() in HOLDS and not folder.is_dir()):
        raise CommandError(
            f"{folder} is no folder. The maps are several pictures: -o names the folder for them."
        )
    folder.mkdir(parents=True, exist_ok=True)
    options.output = folder / f"{options.image.stem}.png"
    request = MaterialMaps(
        picture.pixels, seamless=options.seamless or "auto", seed=0, **map_settings(options)
    )
    with connected(options) as client:
        paint(client, request, options)
    return 0
