"""scumble demo: the main job on real input, in a few minutes, with a contact sheet at the end."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from core_server.commands.errors import CommandError, last_words
from core_server.commands.options import (
    Subparsers,
    add_command,
    add_server_options,
    model_name,
)

if TYPE_CHECKING:
    from core_server.commands.contact_sheet import Entry
    from scumble.client import Client, Patch, Pixels, Request

PHOTO = Path(__file__).parent / "demo_photo" / "espresso.jpg"
SELECTION = PHOTO.with_name("table.png")
ADDON = Path(__file__).parents[2] / "blender_addon"
BLENDER_SECONDS = 600
TEXTURE_PROMPT, VARIATIONS_PROMPT = "teal hexagon tiles", "grey stone blocks"
PHOTO_PROMPT, BLENDER_PROMPT = "blue mosaic", "red bricks with white mortar"
SEED = 7
SIDE = 256


def register(subparsers: Subparsers) -> None:
    """Adds the command."""
    parser = add_command(
        subparsers,
        "demo",
        run,
        "do the main job on real input and show the pictures",
        examples="  scumble demo\n  scumble demo --out pictures --model tiny\n",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("demo"),
        metavar="DIR",
        help="where the pictures go (default %(default)s)",
    )
    parser.add_argument("--model", metavar="ID|DIR", help="the model to paint with")
    parser.add_argument(
        "--blender-python",
        type=Path,
        metavar="FILE",
        help="a Python with bpy: paints and renders a material on an object too",
    )
    add_server_options(parser)


def run(options: argparse.Namespace) -> int:
    """Paints, writes the pictures and the contact sheet, and says where they are."""
    from core_server.commands.contact_sheet import write_sheet  # noqa: PLC0415
    from core_server.commands.session import connected  # noqa: PLC0415

    options.out.mkdir(parents=True, exist_ok=True)
    options.model = model_name(options.model or "", options.data_dir)
    with connected(options) as client:
        note = _honesty(client, options.model)
        if note:
            print(note, file=sys.stderr)
        entries = [
            *_texture(client, options),
            *_variations(client, options),
            *_photograph(client, options),
        ]
        try:
            entries += _blender(client, options)
        finally:  # what is painted is shown, whatever Blender says
            sheet = options.out / "index.html"
            write_sheet(sheet, entries, note)
            print(f"The pictures are in {options.out}; open {sheet.resolve().as_uri()}")
    return 0


def _honesty(client: Client, model: str) -> str:
    """What the artist must know about the model; "" for a trained one."""
    for known in client.models():
        asked = known.model_id == model or (not model and known.is_default)
        if asked and not known.trained:
            return (
                "These pictures come from an untrained test model: they show the way, not the art."
            )
    return ""


def _texture(client: Client, options: argparse.Namespace) -> Iterator[Entry]:
    import numpy as np  # noqa: PLC0415

    from core_server.commands.contact_sheet import Entry  # noqa: PLC0415
    from scumble.client import Pixels, Texture  # noqa: PLC0415

    request = Texture(TEXTURE_PROMPT, SIDE, SIDE, model=options.model, seed=SEED)
    [patch] = _painted(client, request, "Texture")
    yield Entry(
        "Texture",
        f'"{TEXTURE_PROMPT}", seamless',
        _write(options.out / "texture.png", patch.pixels),
    )
    tiled = Pixels.from_numpy(np.tile(patch.pixels.numpy(), (2, 2, 1)), patch.pixels.color_space)
    yield Entry(
        "Tiled", "the same, 2 x 2: no seam", _write(options.out / "texture-tiled.png", tiled)
    )


def _variations(client: Client, options: argparse.Namespace) -> Iterator[Entry]:
    from core_server.commands.contact_sheet import Entry  # noqa: PLC0415
    from scumble.client import Texture  # noqa: PLC0415

    request = Texture(VARIATIONS_PROMPT, SIDE, SIDE, model=options.model, seed=SEED, count=4)
    for patch in _painted(client, request, "Variations"):
        path = options.out / f"variation-{patch.index + 1}.png"
        text = f'"{VARIATIONS_PROMPT}", seed {patch.seed}'
        yield Entry(f"Variation {patch.index + 1}", text, _write(path, patch.pixels))


def _photograph(client: Client, options: argparse.Namespace) -> Iterator[Entry]:
    import numpy as np  # noqa: PLC0415

    from core_server.commands.contact_sheet import Entry  # noqa: PLC0415
    from core_server.commands.cut import bounding_box, cut  # noqa: PLC0415
    from core_server.commands.files import read_picture  # noqa: PLC0415
    from scumble.client import CanvasOptions, Inpaint, paste  # noqa: PLC0415

    photo, selection = read_picture(PHOTO).pixels, read_picture(SELECTION).pixels
    mask = selection.numpy()[..., 0]
    yield Entry("Photograph", "by Rachel Michetti, CC0", _write(options.out / "photo.png", photo))
    path = _write(options.out / "photo-selection.png", selection)
    yield Entry("Selection", "the table, with a soft edge", path)
    model = options.model
    exact = CanvasOptions(exact_selection=True)
    plan = client.plan(photo.extent, bounding_box(mask), model=model, options=exact)
    request = Inpaint(
        PHOTO_PROMPT,
        cut(photo, plan.context),
        cut(mask, plan.context),
        plan=plan,
        model=model,
        seed=SEED + 1,
    )
    [patch] = _painted(client, request, "Inpaint")
    result = paste(photo, patch)
    kept = np.all(result.numpy() == photo.numpy(), axis=2).mean()
    text = f'"{PHOTO_PROMPT}"; {kept:.0%} of the pixels are bit-identical'
    yield Entry("Inpainted", text, _write(options.out / "photo-inpainted.png", result))


def _blender(client: Client, options: argparse.Namespace) -> Iterator[Entry]:
    """The add-on as artists install it, in Blender's own Python, against the same server. Errors: CommandError."""
    if options.blender_python is None:
        return
    from core_server.commands.contact_sheet import Entry  # noqa: PLC0415
    from scumble.client.discovery import locate  # noqa: PLC0415

    if not ADDON.is_dir():
        raise CommandError(f"Blender's part needs the add-on's source, which is not in {ADDON}.")
    print("Blender", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        package = [sys.executable, "-m", "blender_addon.package"]
        _run_for_blender([*package, "--platform", "current", "--out", folder], {})
        [extension] = Path(folder).glob("*.zip")
        location = locate(client.address, None, options.data_dir)
        scene = [str(options.blender_python), str(ADDON / "demo_scene.py")]
        scene += ["--extension", str(extension), "--out", str(options.out.resolve() / "blender")]
        scene += ["--prompt", BLENDER_PROMPT, "--seed", str(SEED), "--size", str(SIDE)]
        server = {"SCUMBLE_SERVER": location.address, "SCUMBLE_TOKEN": location.token}
        report = json.loads(_run_for_blender(scene, server).splitlines()[-1])
    yield Entry("Texture in Blender", f'"{BLENDER_PROMPT}", by the add-on', Path(report["texture"]))
    yield Entry(
        "Rendered by Blender",
        "a Principled BSDF material, rendered by Cycles",
        Path(report["render"]),
    )


def _run_for_blender(command: list[str], environment: dict[str, str]) -> str:
    """What a step printed. Errors: CommandError with the last line it said."""
    outcome = subprocess.run(
        command,
        cwd=ADDON.parent,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=BLENDER_SECONDS,
        check=False,
    )
    if outcome.returncode:
        reason = last_words(outcome.stderr.strip() or outcome.stdout)
        raise CommandError(f"Blender's part failed: {reason}")
    return outcome.stdout


def _painted(client: Client, request: Request, name: str) -> list[Patch]:
    from core_server.commands.progress import wait  # noqa: PLC0415

    print(name, file=sys.stderr)
    return wait(client.submit(request))


def _write(path: Path, pixels: Pixels) -> Path:
    from core_server.commands.output_files import write_picture  # noqa: PLC0415

    write_picture(path, pixels)
    return path
