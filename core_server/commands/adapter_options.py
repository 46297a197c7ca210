"""Arguments for what a request adds to a model: LoRAs, textual inversions, styles, control and reference pictures."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core_server.commands.errors import CommandError

CONTROL_KINDS = ("depth", "normal", "line", "pose", "tile", "inpaint")


def add_adapter_options(parser: argparse.ArgumentParser) -> None:
    """`--lora`, `--textual-inversion`, `--style`, `--control` and `--reference`."""
    group = parser.add_argument_group(
        "adapters",
        "Files of the data folder's `adapters`, by name; `scumble models adapters` lists them.",
    )
    group.add_argument(
        "--lora",
        dest="loras",
        action="append",
        metavar="NAME[:WEIGHT]",
        help="a LoRA, -2..2 (default 1); may be given several times",
    )
    group.add_argument(
        "--textual-inversion",
        dest="textual_inversions",
        action="append",
        metavar="NAME[:WEIGHT]",
        help="a learned word: write NAME or <NAME> in the prompt; may be given several times",
    )
    group.add_argument("--style", metavar="NAME", help="a prompt template; see `scumble styles`")
    group.add_argument(
        "--control",
        dest="controls",
        action="append",
        metavar="KIND=IMAGE[:WEIGHT]",
        help=f"a picture to keep the structure of ({', '.join(CONTROL_KINDS)}), 0..2 (default 1)",
    )
    group.add_argument(
        "--reference",
        dest="references",
        action="append",
        metavar="IMAGE[:WEIGHT]",
        help="a picture to take the look from, 0..1 (default 0.6)",
    )


def adapter_settings(
    options: argparse.Namespace, recipe: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Keyword arguments of the client's requests: as given, else those of `recipe`, whose pictures the server still
    has for a while. Errors: CommandError."""
    from scumble.client import Adapter, AdapterKind, ControlImage, ReferenceImage  # noqa: PLC0415

    recipe = recipe or {}

    given = [
        Adapter(kind, *name_and_weight(text, 1.0))
        for kind, texts in (
            (AdapterKind.LORA, options.loras),
            (AdapterKind.TEXTUAL_INVERSION, options.textual_inversions),
        )
        for text in texts or ()
    ]
    if not given:
        given = [
            Adapter(AdapterKind(it["kind"]), it["name"], it["weight"])
            for it in recipe.get("adapters", ())
        ]
    controls = [_control(text) for text in options.controls or ()] or [
        ControlImage(it["kind"], it["image"], it["weight"])
        for it in recipe.get("control_images", ())
    ]
    references = [_reference(text) for text in options.references or ()] or [
        ReferenceImage(it["image"], it["weight"]) for it in recipe.get("reference_images", ())
    ]
    return {
        "adapters": tuple(given),
        "style": options.style or "",
        "control_images": tuple(controls),
        "reference_images": tuple(references),
    }


def name_and_weight(text: str, default: float) -> tuple[str, float]:
    """NAME:WEIGHT in its parts; what follows the last colon is a weight only if it is a number."""
    name, colon, number = text.rpartition(":")
    if colon and name:
        try:
            return name, float(number)
        except ValueError:
            pass
    return text, default


def _control(text: str) -> Any:
    from core_server.commands.files import read_picture  # noqa: PLC0415
    from scumble.client import ControlImage  # noqa: PLC0415

    kind, sign, rest = text.partition("=")
    if not sign or kind not in CONTROL_KINDS:
        raise CommandError(
            f"--control {text}: say KIND=IMAGE, where KIND is one of {', '.join(CONTROL_KINDS)}."
        )
    path, weight = name_and_weight(rest, 1.0)
    return ControlImage(kind, read_picture(Path(path)).pixels, weight)


def _reference(text: str) -> Any:
    from core_server.commands.files import read_picture  # noqa: PLC0415
    from scumble.client import ReferenceImage  # noqa: PLC0415

    path, weight = name_and_weight(text, 0.6)
    return ReferenceImage(read_picture(Path(path)).pixels, weight)
