"""The command line: `python -m photoshop_plugin inpaint --prompt "..."`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from photoshop_plugin.document import Document, Sides, Source
from photoshop_plugin.errors import PhotoshopError
from photoshop_plugin.flow import generate
from photoshop_plugin.generation import Settings
from photoshop_plugin.host.interface import PhotoshopHost
from photoshop_plugin.progress import Progress
from photoshop_plugin.task import Task
from scumble.client import Adapter, AdapterKind, CanvasOptions, ScumbleError, connect

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

_GENERATING = (
    ("generate", Task.AUTO, "do what selection and prompt suggest; it says what that is"),
    ("inpaint", Task.FILL, "repaint the selection after the prompt"),
    ("remove", Task.REMOVE, "take away what is selected"),
    ("restyle", Task.RESTYLE, "repaint the selection, or the whole picture, at a strength below 1"),
    (
        "layer",
        Task.LAYER,
        "paint a new layer from the prompt, as large as the selection or the document",
    ),
    (
        "extend",
        Task.EXTEND,
        "grow the canvas and paint on; without px to add, fill what is transparent",
    ),
    ("upscale", Task.UPSCALE, "enlarge the selection's box or all into a new document"),
    ("pattern", Task.PATTERN, "paint a texture that tiles and add it to the patterns"),
)
_UPSCALE_STRENGTH = 0.3
"""The client's own default: detail is added, nothing is repainted."""

HostFactory = Callable[[float, Callable[[], None]], AbstractContextManager[PhotoshopHost]]
"""(patience in seconds, called when Photoshop is busy) -> host."""


def _com_host(
    patience_seconds: float, on_busy: Callable[[], None]
) -> AbstractContextManager[PhotoshopHost]:
    from photoshop_plugin.host.photoshop import ComPhotoshop  # noqa: PLC0415 - numpy, late for --help

    return ComPhotoshop(patience_seconds=patience_seconds, on_busy=on_busy)


def main(arguments: Sequence[str] | None = None, *, open_host: HostFactory = _com_host) -> int:
    """Runs a command; returns its exit status: 0 done, 1 failed, 2 usage, 130 interrupted."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.DEBUG if options.debug else logging.WARNING)
    progress = Progress(sys.stderr)
    if options.command is _panel:
        return int(_panel(options, open_host))
    try:
        with open_host(options.wait, lambda: progress.say("Photoshop is busy; waiting")) as host:
            return int(options.command(options, host, progress))
    except KeyboardInterrupt:
        progress.end()
        progress.say("Cancelled.")
        return INTERRUPTED
    except (PhotoshopError, ScumbleError) as error:
        progress.end()
        if options.debug:
            raise
        progress.say(" ".join([str(error), *getattr(error, "__notes__", [])]))
        return FAILED


def _generate(options: argparse.Namespace, host: PhotoshopHost, progress: Progress) -> int:
    settings = Settings(
        prompt=options.prompt,
        negative_prompt=options.negative_prompt,
        strength=options.strength,
        model=options.model,
        num_inference_steps=options.num_inference_steps,
        guidance_scale=options.guidance_scale,
        scheduler=options.scheduler,
        seed=options.seed,
        count=options.count,
        style=options.style,
        adapters=tuple(options.lora),
        task=options.task,
        source=Source(options.source),
        sides=Sides(options.left, options.top, options.right, options.bottom),
        factor=options.factor,
        pattern_side=options.size,
        options=CanvasOptions(exact_selection=options.exact_selection),
    )
    documents: list[Document | None] = [None]
    if options.all_open:
        documents = list(host.documents())
    outcome = DONE
    with connect(options.server, data_dir=options.data_dir) as client:
        for document in documents:
            try:
                layers = generate(host, client, settings, progress, document)
            except PhotoshopError as error:
                if document is None:
                    raise
                # One document that cannot be painted on does not hold up the others.
                progress.end()
                progress.say(f"{document.name}: {error}")
                outcome = FAILED
                continue
            progress.end()
            for layer in layers:
                box = layer.bounds
                where = f" at {box.x}, {box.y}" if layer.id else ""
                name = f"{document.name}: " if document is not None else ""
                _print(f"{name}{layer.name}: {box.width} x {box.height} px{where}")
    return outcome


def _describe(options: argparse.Namespace, host: PhotoshopHost, progress: Progress) -> int:
    document = host.describe()
    box = document.selection
    where = f"{box.width} x {box.height} px at {box.x}, {box.y}" if box else "nothing"
    _print(
        f"{document.name}: {document.extent.width} x {document.extent.height} px, {document.resolution:g} ppi, "
        f"{document.mode}, {document.bits} bits, {document.profile or 'no profile'}; selected: {where}"
    )
    document.require_paintable()
    return DONE


def _panel(options: argparse.Namespace, open_host: HostFactory) -> int:
    from photoshop_plugin.panel.app import run  # noqa: PLC0415 - Qt, only for the panel

    def open_quietly() -> AbstractContextManager[PhotoshopHost]:
        return open_host(options.wait, lambda: None)

    return run(open_quietly, server=options.server, data_dir=options.data_dir)


def _print(line: str) -> None:
    """A result line; characters that the console cannot show never end the program."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m photoshop_plugin",
        description="Scumble for Photoshop: paints on the document in front.",
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--wait",
        type=float,
        default=60.0,
        metavar="S",
        help="how long to wait for a busy Photoshop, seconds",
    )
    common.add_argument("--debug", action="store_true", help="log more, show tracebacks")
    server = argparse.ArgumentParser(add_help=False)
    server.add_argument(
        "--server", metavar="HOST:PORT", help="the server; found by itself if not given"
    )
    server.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="the server's data folder, for its token"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    for name, task, summary in _GENERATING:
        command = commands.add_parser(
            name,
            parents=[common, server],
            help=summary,
            epilog=f'Example: python -m photoshop_plugin {name} --prompt "a red barn" --seed 7',
        )
        _add_settings(command, task)

    command = commands.add_parser(
        "panel", parents=[common, server], help="show the panel: a small window beside Photoshop"
    )
    command.set_defaults(command=_panel)

    command = commands.add_parser(
        "describe", parents=[common], help="say which document and selection Scumble sees"
    )
    command.set_defaults(command=_describe)
    return parser


def _add_settings(command: argparse.ArgumentParser, task: Task) -> None:
    command.set_defaults(command=_generate, task=task)
    command.add_argument("--prompt", default="", metavar="TEXT", help="what to paint")
    command.add_argument("--negative-prompt", default="", metavar="TEXT", help="what to avoid")
    command.add_argument(
        "--strength",
        type=float,
        default=_UPSCALE_STRENGTH if task is Task.UPSCALE else 1.0,
        metavar="X",
        help="above 0 and at most 1; 1 repaints wholly (default %(default)s)",
    )
    command.add_argument(
        "--seed", type=int, metavar="N", help="start of the noise; drawn if not given"
    )
    command.add_argument(
        "--count", type=int, default=1, metavar="N", help="variations, one layer each"
    )
    command.add_argument("--model", default="", metavar="ID", help="a model the server has")
    command.add_argument("--num-inference-steps", type=int, metavar="N", help="denoising steps")
    command.add_argument(
        "--guidance-scale", type=float, metavar="X", help="how closely to follow the prompt"
    )
    command.add_argument(
        "--scheduler", default="", metavar="NAME", help="a scheduler the model can use"
    )
    command.add_argument("--style", default="", metavar="NAME", help="see `scumble styles`")
    command.add_argument(
        "--lora",
        type=_lora,
        action="append",
        default=[],
        metavar="NAME[:WEIGHT]",
        help="a LoRA that the server has, weight -2..2 (1); may be given again",
    )
    command.add_argument(
        "--source",
        choices=[source.value for source in Source],
        default=Source.MERGED.value,
        help="what is read: all that is visible, the active layer, or it and those below (default merged)",
    )
    command.add_argument(
        "--all-open", action="store_true", help="every open document, not just the one in front"
    )
    extend = task is Task.EXTEND
    for side in Sides._fields:
        command.add_argument(
            f"--{side}",
            type=_pixels,
            default=0,
            metavar="PX",
            help=f"canvas to add: {side}" if extend else argparse.SUPPRESS,
        )
    command.add_argument(
        "--factor",
        type=int,
        default=2,
        choices=(2, 4),
        help="how many times as large" if task is Task.UPSCALE else argparse.SUPPRESS,
    )
    command.add_argument(
        "--size",
        type=_pixels,
        default=512,
        metavar="PX",
        help="side of the pattern (512)" if task is Task.PATTERN else argparse.SUPPRESS,
    )
    command.add_argument(
        "--exact-selection",
        action="store_true",
        help="the selection itself becomes the layer mask, soft edges and all",
    )


def _lora(text: str) -> Adapter:
    """NAME or NAME:WEIGHT. Raises ArgumentTypeError for a weight that is none."""
    name, colon, weight = text.rpartition(":")
    if not colon:
        return Adapter(AdapterKind.LORA, text)
    try:
        return Adapter(AdapterKind.LORA, name, float(weight))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no NAME or NAME:WEIGHT; the weight is a number from -2 to 2"
        ) from error


def _pixels(text: str) -> int:
    """A number of px, 0 or more. Raises ArgumentTypeError for others."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of px, 0 or more")
    return int(text)
