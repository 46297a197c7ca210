"""The command line: `python -m photoshop_plugin inpaint --prompt "..."`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from photoshop_plugin.errors import PhotoshopError
from photoshop_plugin.flow import generate
from photoshop_plugin.generation import Settings
from photoshop_plugin.host.interface import PhotoshopHost
from photoshop_plugin.progress import Progress
from photoshop_plugin.task import Task
from scumble.client import CanvasOptions, ScumbleError, connect

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
)

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
        task=options.task,
        options=CanvasOptions(exact_selection=options.exact_selection),
    )
    with connect(options.server, data_dir=options.data_dir) as client:
        layers = generate(host, client, settings, progress)
    progress.end()
    for layer in layers:
        box = layer.bounds
        _print(f"{layer.name}: {box.width} x {box.height} px at {box.x}, {box.y}")
    return DONE


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
        default=1.0,
        metavar="X",
        help="above 0 and at most 1; 1 repaints wholly",
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
    command.add_argument(
        "--exact-selection",
        action="store_true",
        help="the selection itself becomes the layer mask, soft edges and all",
    )
