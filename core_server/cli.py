"""The `scumble` command: reads the arguments, runs one of `core_server.commands`, turns errors into an exit status.

0 done, 1 failed (one clear line on stderr), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

from core_server import __version__
from core_server.commands import COMMANDS
from core_server.commands.errors import CommandError

DONE, FAILED, INTERRUPTED = 0, 1, 130

_EPILOG = """\
examples:
  scumble generate "mossy stone wall" -o wall.png --seamless xy
  scumble inpaint photo.png mask.png "a wooden bench" -o out.png
  scumble serve                      leave it running; the other commands, Blender and Photoshop use it

`scumble COMMAND --help` tells more. Without a running server a command starts one for itself.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns the exit status; argparse itself exits with 2 on wrong usage."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # a console that lacks a letter of a prompt shows a "?"
            stream.reconfigure(errors="replace")
    options = make_parser().parse_args(arguments)
    try:
        # A supervisor's SIGTERM cancels the job as Ctrl-C does. `serve` has handlers of its own.
        with suppress(ValueError):  # not on the main thread
            signal.signal(signal.SIGTERM, _interrupt)
        status = options.run(options)
        sys.stdout.flush()
        return int(status)
    except KeyboardInterrupt:
        print("scumble: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left; nothing more can be said there, not even by the interpreter's last flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:  # noqa: BLE001 - the one place where an exception becomes a line
        if options.debug:
            traceback.print_exc()
        print(f"scumble: {_sentence(error)}", file=sys.stderr)
        # A client's thread may keep the error, and so every picture on the way here, until the interpreter is gone:
        # OpenImageIO would list them on stderr.
        traceback.clear_frames(error.__traceback__)
        return FAILED


def make_parser() -> argparse.ArgumentParser:
    """The whole command line. Commands import what they need when they run, so that this is quick."""
    parser = argparse.ArgumentParser(
        prog="scumble",
        description="Diffusion inside the tools artists already use.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"scumble {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"core_server.commands.{name}")
        module.register(commands)
    return parser


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _sentence(error: Exception) -> str:
    """One line about an error: its own words where it is one of ours, else what kind it is and what to do."""
    from core_server.errors import ScumbleServerError  # noqa: PLC0415
    from scumble.client.errors import ScumbleError  # noqa: PLC0415

    text = " ".join(str(error).split())
    if isinstance(error, ScumbleError | ScumbleServerError | CommandError):
        return text
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return f"this is a mistake of ours: {type(error).__name__}: {text}. Run it again with --debug to see where."
