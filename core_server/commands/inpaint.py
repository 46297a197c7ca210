"""scumble inpaint: repaint the selected part of a picture; everything else stays bit-identical."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from core_server.commands.options import (
    Subparsers,
    add_command,
    add_generation_options,
    add_output,
    add_server_options,
    common_settings,
    model_name,
)

if TYPE_CHECKING:
    from scumble.client import CanvasPlan

FILLS = ("auto", "blur", "neutral", "border", "structure", "none")
_EXAMPLES = """\
  scumble inpaint photo.png mask.png "a wooden bench" -o out.png
  scumble inpaint photo.tif mask.png "" -o out.tif                 take away what is there
  scumble inpaint photo.png mask.png "smile" -o out.png --strength 0.5 --fill none
  scumble inpaint photo.png mask.png "a bench" -o out.png --plan-only   show what would be sent
"""
_DESCRIPTION = """\
Repaint the selected part of a picture. MASK has the same size; white means repaint, black keep, grey a soft edge.
It may also be a picture whose alpha is the selection. Only the selection's surroundings go to the server, and every
pixel that was not selected stays bit-identical (in files that compress without loss).
"""


def register(subparsers: Subparsers) -> None:
    """Adds the command."""
    parser = add_command(
        subparsers,
        "inpaint",
        run,
        "repaint the selected part of a picture",
        examples=_EXAMPLES,
        description=_DESCRIPTION,
    )
    parser.add_argument("image", type=Path, metavar="IMAGE", help="the picture")
    parser.add_argument("mask", type=Path, metavar="MASK", help="the selection")
    parser.add_argument(
        "prompt", metavar="PROMPT", help='what to paint there; "" takes away what is there'
    )
    add_output(parser)
    parser.add_argument(
        "--strength",
        type=float,
        default=1.0,
        metavar="X",
        help="denoising strength, above 0 to 1 (default)",
    )
    parser.add_argument(
        "--fill", choices=FILLS, default="auto", help="what lies under the mask before denoising"
    )
    parser.add_argument(
        "--exact-selection",
        action="store_true",
        help="blend with the mask as it is, without growing or softening it",
    )
    parser.add_argument("--plan-only", action="store_true", help="print the plan and paint nothing")
    add_generation_options(parser)
    add_server_options(parser)


def run(options: argparse.Namespace) -> int:
    """Plans, cuts the context out, repaints it and lays it back."""
    from core_server.commands.cut import bounding_box, cut  # noqa: PLC0415
    from core_server.commands.files import (  # noqa: PLC0415
        check_output,
        read_mask,
        read_picture,
    )
    from core_server.commands.painting import paint  # noqa: PLC0415
    from core_server.commands.session import connected  # noqa: PLC0415
    from scumble.client import (  # noqa: PLC0415
        CanvasOptions,
        FillMode,
        Inpaint,
        SeamlessAxes,
        paste,
    )

    picture = read_picture(options.image)
    document = picture.pixels
    mask = read_mask(options.mask, document.width, document.height)
    check_output(options.output, document)
    canvas = CanvasOptions(
        fill=FillMode(options.fill),
        exact_selection=options.exact_selection,
        seamless=SeamlessAxes(options.seamless or "none"),
    )
    with connected(options) as client:
        plan = client.plan(
            document.extent,
            bounding_box(mask),
            model=model_name(options.model or ""),
            strength=options.strength,
            options=canvas,
        )
        if options.plan_only:
            _print_plan(plan, options.json)
            return 0
        request = Inpaint(
            options.prompt,
            cut(document, plan.context),
            cut(mask, plan.context),
            strength=options.strength,
            plan=plan,
            **common_settings(options),
        )
        paint(client, request, options, like=picture, compose=lambda patch: paste(document, patch))
    return 0


def _print_plan(plan: CanvasPlan, as_json: bool) -> None:
    values = dataclasses.asdict(plan)
    if as_json:
        print(json.dumps(values))
        return
    for name, value in values.items():
        print(f"{name:16} {' '.join(map(str, value)) if isinstance(value, tuple) else value}")
