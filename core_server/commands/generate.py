"""scumble generate: a picture from a prompt."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from core_server.commands.errors import CommandError
from core_server.commands.options import (
    Subparsers,
    add_command,
    add_generation_options,
    add_map_options,
    add_output,
    add_server_options,
    common_settings,
    map_settings,
)

STRUCTURES = ("auto", "noise", "layout")
_EXAMPLES = """\
  scumble generate "mossy stone wall" -o wall.png
  scumble generate "oak planks" -o oak.png --seamless xy --width 1024 --height 1024 --seed 7
  scumble generate "rusty iron" -o iron.png --count 4          iron-1.png to iron-4.png
  scumble generate "grey bricks" -o bricks.png --map all       bricks-normal.png and its like beside it
  scumble generate --from iron-2.png -o again.png              the same picture again
"""


def register(subparsers: Subparsers) -> None:
    """Adds the command."""
    parser = add_command(
        subparsers, "generate", run, "paint a picture from a prompt", examples=_EXAMPLES
    )
    parser.add_argument("prompt", nargs="?", metavar="PROMPT", help="what to paint")
    add_output(parser)
    parser.add_argument(
        "--width", type=int, metavar="N", help="px, any number (default: the model's best)"
    )
    parser.add_argument(
        "--height", type=int, metavar="N", help="px, any number (default: the model's best)"
    )
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="PNG",
        help="repeat the recipe that a picture carries; what is given beside it outranks it",
    )
    add_generation_options(parser)
    parser.add_argument(
        "--structure",
        choices=STRUCTURES,
        help="what the picture starts from: noise, or a layout that the model's generator draws (auto: a layout where "
        "the model has a generator and the prompt names what it can draw)",
    )
    add_map_options(
        parser, "none: the picture alone; with maps it tiles unless --seamless says otherwise"
    )
    add_server_options(parser)


def run(options: argparse.Namespace) -> int:
    """Paints."""
    from core_server.commands.output_files import check_output  # noqa: PLC0415
    from core_server.commands.painting import paint  # noqa: PLC0415
    from core_server.commands.session import connected  # noqa: PLC0415
    from scumble.client import Request, SeamlessAxes, TextToImage, Texture  # noqa: PLC0415

    recipe = _earlier_recipe(options.source)
    prompt = recipe.get("prompt", "") if options.prompt is None else options.prompt
    if options.prompt is None and not recipe:
        raise CommandError("Say what to paint, or give a picture to repeat with --from.")
    check_output(options.output)
    settings = common_settings(options, recipe)
    with connected(options) as client:
        width, height = recipe.get("extent") or client.best_extent(settings["model"])
        width = width if options.width is None else options.width
        height = height if options.height is None else options.height
        request: Request = TextToImage(prompt, width, height, **settings)
        if options.maps:
            if options.seamless is None and not recipe:
                settings["seamless"] = SeamlessAxes.XY
            request = Texture(prompt, width, height, **settings, **map_settings(options))
        [patch, *_] = paint(client, request, options)
    before, now = recipe.get("model_sha256"), patch.recipe.get("model_sha256")
    if before and before != now:
        print("scumble: the model has changed since, so the picture may differ", file=sys.stderr)
    return 0


def _earlier_recipe(source: Path | None) -> dict[str, Any]:
    if source is None:
        return {}
    from core_server.commands.recipe import read_recipe  # noqa: PLC0415

    recipe = read_recipe(source)
    task = recipe.get("task")
    if task not in ("text_to_image", "texture") or recipe.get("map"):
        raise CommandError(
            f"{source} was made by {task}, which starts from another picture; only what `scumble generate` painted can "
            "be repeated from its recipe alone."
        )
    return recipe
