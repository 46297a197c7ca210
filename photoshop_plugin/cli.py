"""The command line: `python -m photoshop_plugin inpaint --prompt "..."`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from photoshop_plugin import install
from photoshop_plugin.document import Document, PlacedLayer, Source
from photoshop_plugin.errors import PhotoshopError
from photoshop_plugin.flow import generate
from photoshop_plugin.host.interface import PhotoshopHost
from photoshop_plugin.install import NotInstallable
from photoshop_plugin.options import add_settings, settings_of
from photoshop_plugin.progress import Progress
from photoshop_plugin.task import Task
from scumble.client import ScumbleError, connect

DONE, FAILED, INTERRUPTED = 0, 1, 130

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
    try:
        return int(options.command(options, progress, open_host))
    except KeyboardInterrupt:
        progress.end()
        progress.say("Cancelled.")
        return INTERRUPTED
    except (PhotoshopError, ScumbleError, NotInstallable) as error:
        progress.end()
        if options.debug:
            raise
        progress.say(" ".join([str(error), *getattr(error, "__notes__", [])]))
        return FAILED


def _generate(options: argparse.Namespace, progress: Progress, open_host: HostFactory) -> int:
    with open_host(options.wait, lambda: progress.say("Photoshop is busy; waiting")) as host:
        return _generate_on(host, options, progress)


def _generate_on(host: PhotoshopHost, options: argparse.Namespace, progress: Progress) -> int:
    settings = replace(settings_of(options), source=Source(options.source))
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
            _print_layers(f"{document.name}: " if document is not None else "", layers)
    return outcome


def _files(options: argparse.Namespace, progress: Progress, open_host: HostFactory) -> int:
    """`batch` and `watch`: PSD files, no Photoshop."""
    from photoshop_plugin.files.folder import Watch, paint  # noqa: PLC0415 - numpy

    def output_of(path: Path) -> Path:
        return (options.output or path.parent / "scumble") / path.name

    settings, outcome = settings_of(options), DONE
    paths: Iterable[Path] = getattr(options, "files", [])
    if hasattr(options, "folder"):
        if not options.folder.is_dir():
            progress.say(f"There is no folder {options.folder}.")
            return FAILED
        progress.say(f"Watching {options.folder}; Ctrl-C ends it.")
        paths = Watch(options.folder, output_of).forever(options.interval)
    with connect(options.server, data_dir=options.data_dir) as client:
        for path, made in paint(
            paths, client, settings, output_of, selection=options.selection, on_event=progress
        ):
            progress.end()
            if isinstance(made, Exception):
                said = str(made)
                progress.say(said if path.name in said else f"{path.name}: {said}")
                outcome = FAILED
            else:
                _print_layers(f"{output_of(path)}: ", made)
    return outcome


def _install(options: argparse.Namespace, progress: Progress, open_host: HostFactory) -> int:
    link = install.remove() if options.remove else install.add()
    _print(f"Removed {link}." if options.remove else f"The start menu has {link.stem!r} now.")
    return DONE


def _print_layers(prefix: str, layers: Iterable[PlacedLayer]) -> None:
    for layer in layers:
        box = layer.bounds
        where = f" at {box.x}, {box.y}" if layer.id else ""
        _print(f"{prefix}{layer.name}: {box.width} x {box.height} px{where}")


def _describe(options: argparse.Namespace, progress: Progress, open_host: HostFactory) -> int:
    with open_host(options.wait, lambda: progress.say("Photoshop is busy; waiting")) as host:
        document = host.describe()
        if document.quick_mask:
            document = host.unmasked(document)
    box = document.selection
    where = f"{box.width} x {box.height} px at {box.x}, {box.y}" if box else "nothing"
    _print(
        f"{document.name}: {document.extent.width} x {document.extent.height} px, {document.resolution:g} ppi, "
        f"{document.mode}, {document.bits} bits, {document.profile or 'no profile'}; selected: {where}"
    )
    document.require_paintable()
    return DONE


def _panel(options: argparse.Namespace, progress: Progress, open_host: HostFactory) -> int:
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
        command.set_defaults(command=_generate)
        add_settings(command, task)
        command.add_argument(
            "--source",
            choices=[source.value for source in Source],
            default=Source.MERGED.value,
            help="what is read: all that is visible, the active layer, or it and those below (default merged)",
        )
        command.add_argument(
            "--all-open", action="store_true", help="every open document, not just the one in front"
        )

    for name, summary in (
        ("batch", "paint on PSD files; needs no Photoshop"),
        ("watch", "paint on the PSD files that come into a folder; needs no Photoshop"),
    ):
        command = commands.add_parser(
            name,
            parents=[server],
            help=summary,
            epilog="The selection is an alpha channel (Select > Save Selection). The files themselves are never "
            "written; results go into the folder `scumble` beside them.",
        )
        command.set_defaults(command=_files)
        if name == "batch":
            command.add_argument("files", type=Path, nargs="+", metavar="FILE")
        else:
            command.add_argument("folder", type=Path, metavar="FOLDER")
            command.add_argument(
                "--interval",
                type=float,
                default=2.0,
                metavar="S",
                help="seconds from one look to the next (2)",
            )
        command.add_argument("--output", type=Path, metavar="DIR", help="where results go")
        command.add_argument(
            "--selection",
            default="",
            metavar="NAME",
            help="the alpha channel to take as the selection (the last one)",
        )
        command.add_argument("--debug", action="store_true", help="log more, show tracebacks")
        add_settings(command, None)

    command = commands.add_parser("install", help="put the panel into the start menu (Windows)")
    command.set_defaults(command=_install)
    command.add_argument("--remove", action="store_true", help="take it out again")
    command.add_argument("--debug", action="store_true", help="log more, show tracebacks")

    command = commands.add_parser(
        "panel", parents=[common, server], help="show the panel: a small window beside Photoshop"
    )
    command.set_defaults(command=_panel)

    command = commands.add_parser(
        "describe", parents=[common], help="say which document and selection Scumble sees"
    )
    command.set_defaults(command=_describe)
    return parser
