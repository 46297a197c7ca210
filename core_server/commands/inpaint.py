"""scumble inpaint: repaint the selected part of a picture; everything else stays bit-identical."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    import numpy.typing as npt

    from scumble.client import CanvasPlan, Pixels

INTENTS = ("auto", "fill", "add_object", "remove_object", "expand", "refine")
FILLS = ("auto", "blur", "neutral", "border", "structure", "none")
_EXAMPLES = """\
  scumble inpaint photo.png mask.png "a wooden bench" -o out.png
  scumble inpaint photo.tif mask.png "" -o out.tif                 take away what is there
  scumble inpaint photo.png mask.png "smile" -o out.png --strength 0.5 --fill none
  scumble inpaint photo.png mask.png "a bench" -o plan.png --plan-only   draw what would be sent and painted
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
        metavar="X",
        help="denoising strength, above 0 to 1; default 1, or 0.8 to take something away, so that the fill counts",
    )
    parser.add_argument(
        "--intent",
        choices=INTENTS,
        default="auto",
        help="what should happen there; auto: fill, without a prompt remove_object, below strength 1 refine",
    )
    group = parser.add_argument_group("canvas", "What is left out is planned from the selection.")
    group.add_argument(
        "--fill", choices=FILLS, default="auto", help="what lies under the mask before denoising"
    )
    group.add_argument("--grow", type=int, metavar="N", help="px the mask grows, 0..512")
    group.add_argument("--feather", type=int, metavar="N", help="px of its soft edge, 0..512")
    group.add_argument("--padding", type=int, metavar="N", help="px of context around it, 0..4096")
    group.add_argument(
        "--color-match",
        type=float,
        metavar="X",
        help="bring the patch's colours to those of its surroundings, 0 (off) to 1 (default)",
    )
    group.add_argument(
        "--passes",
        type=int,
        choices=(1, 2),
        help="1: paint once, however large; 2: always refine the mask at full resolution afterwards",
    )
    group.add_argument(
        "--exact-selection",
        action="store_true",
        help="blend with the mask as it is, without growing or softening it",
    )
    group.add_argument(
        "--plan-only",
        action="store_true",
        help="print the plan, draw it over the picture into OUT, and paint nothing",
    )
    add_generation_options(parser)
    add_server_options(parser)


def run(options: argparse.Namespace) -> int:
    """Plans, cuts the context out, repaints it and lays it back."""
    from core_server.canvas import plan as canvas_plan  # noqa: PLC0415
    from core_server.canvas.masks import selection_bounds  # noqa: PLC0415
    from core_server.commands.cut import cut  # noqa: PLC0415
    from core_server.commands.files import read_mask, read_picture  # noqa: PLC0415
    from core_server.commands.output_files import check_output  # noqa: PLC0415
    from core_server.commands.painting import paint  # noqa: PLC0415
    from core_server.commands.session import connected  # noqa: PLC0415
    from scumble.client import (  # noqa: PLC0415
        Bounds,
        CanvasIntent,
        CanvasOptions,
        FillMode,
        Inpaint,
        SeamlessAxes,
        paste,
    )

    picture = read_picture(options.image)
    document = picture.pixels
    mask = read_mask(options.mask, document.width, document.height)
    if not options.plan_only:
        check_output(options.output, document)
    removes = options.intent == "auto" and not options.prompt.strip() and options.strength is None
    intent = CanvasIntent.REMOVE_OBJECT if removes else CanvasIntent(options.intent)
    strength = options.strength
    if strength is None:
        strength = Inpaint.REMOVE_STRENGTH if intent is CanvasIntent.REMOVE_OBJECT else 1.0
    axes = options.seamless or "none"
    canvas = CanvasOptions(
        intent=intent,
        fill=FillMode(options.fill),
        exact_selection=options.exact_selection,
        grow=options.grow,
        feather=options.feather,
        padding=options.padding,
        seamless=SeamlessAxes(axes),
        color_match=options.color_match,
        passes=options.passes,
    )
    selected = Bounds(*selection_bounds(mask, canvas_plan.SeamlessAxes(axes)))
    with connected(options) as client:
        plan = client.plan(
            document.extent,
            selected,
            model=model_name(options.model or "", options.data_dir),
            strength=strength,
            options=canvas,
        )
        if options.plan_only:
            _show_plan(plan, document, mask, options)
            return 0
        request = Inpaint(
            options.prompt,
            cut(document, plan.context),
            cut(mask, plan.context),
            strength=strength,
            plan=plan,
            **common_settings(options),
        )
        paint(client, request, options, like=picture, compose=lambda patch: paste(document, patch))
    return 0


def _show_plan(
    plan: CanvasPlan, document: Pixels, mask: npt.NDArray[Any], options: argparse.Namespace
) -> None:
    from core_server.commands.errors import CommandError  # noqa: PLC0415
    from core_server.commands.plan_drawing import draw_plan, plan_lines, resolved  # noqa: PLC0415

    plan = resolved(plan, options.prompt)
    try:
        draw_plan(document, mask, plan).save(options.output)
    except ValueError as error:
        raise CommandError(
            f"A plan cannot be drawn into {options.output.name}; name a .png or .jpg file."
        ) from error
    if options.json:
        print(json.dumps({**dataclasses.asdict(plan), "drawing": str(options.output)}))
        return
    for name, text in plan_lines(plan):
        print(f"{name:16} {text}")
    print(f"drawn in {options.output}")
