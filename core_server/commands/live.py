"""scumble live: repaint a picture whenever its file changes."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from core_server.commands.errors import CommandError
from core_server.commands.options import (
    SEAMLESS,
    Subparsers,
    add_command,
    add_output,
    add_server_options,
    model_name,
)

if TYPE_CHECKING:
    from core_server.commands.files import Picture
    from scumble.client import LiveSession

_EXAMPLES = """\
  scumble live sketch.png "old brick wall" -o wall.png        save sketch.png in any program; Ctrl-C ends it
  scumble live sketch.png "moss" -o moss.png --strength 0.8 --num-inference-steps 1 --size 256
"""
_POLL_SECONDS = 0.05
_SETTLE_TRIES, _SETTLE_SECONDS = 20, 0.1
"""A file that is just being written may be read as damaged for a moment."""


def register(subparsers: Subparsers) -> None:
    """Adds the command."""
    parser = add_command(
        subparsers, "live", run, "repaint a picture whenever its file changes", examples=_EXAMPLES
    )
    add = parser.add_argument
    add("image", type=Path, metavar="IMAGE", help="the picture to watch")
    add("prompt", metavar="PROMPT", help="what to paint")
    add_output(parser)
    add("--strength", type=float, default=0.6, metavar="X",
        help="denoising strength, above 0 (as it is) to 1 (all new); default %(default)s")  # fmt: skip
    add("--num-inference-steps", type=int, metavar="N", help="denoising steps, 1..4 (default 2)")
    add("--guidance-scale", type=float, metavar="X", help="classifier-free guidance weight, 0..50")
    add("--negative-prompt", default="", metavar="TEXT", help="what to avoid")
    add("--seed", type=int, metavar="N", help="start of the noise; drawn once if left out")
    add("--seamless", choices=SEAMLESS, default="none", help="axes along which the result tiles")
    add("--size", type=int, metavar="PX", help="longest side of the pictures; smaller is faster")
    add("--skip-below", type=float, default=0.0, metavar="X",
        help="leave a picture that changed by less on average, 0..1, unpainted; default %(default)s")  # fmt: skip
    add("--model", metavar="ID|DIR", help="an installed model or a diffusers folder")
    add("--pictures", type=int, metavar="N", help="end after so many pictures")
    add_server_options(parser, with_json=False)


def run(options: argparse.Namespace) -> int:
    """Watches and paints until Ctrl-C, or until there were enough pictures."""
    from core_server.commands.files import read_picture  # noqa: PLC0415
    from core_server.commands.output_files import check_output  # noqa: PLC0415
    from core_server.commands.session import connected  # noqa: PLC0415
    from scumble.client import Live  # noqa: PLC0415

    picture = read_picture(options.image)
    check_output(options.output, picture.pixels)
    if options.image.resolve() == options.output.resolve():
        raise CommandError("IMAGE and OUT are the same file; the picture would repaint itself.")
    if options.size is not None and options.size < 1:
        raise CommandError(f"--size is {options.size}; it must be 1 px or more.")
    settings = Live(
        options.prompt,
        negative_prompt=options.negative_prompt,
        model=model_name(options.model or "", options.data_dir),
        num_inference_steps=options.num_inference_steps,
        guidance_scale=options.guidance_scale,
        seed=options.seed,
        seamless=options.seamless,
        strength=options.strength,
        skip_below=options.skip_below,
    )
    with connected(options) as client, client.live(settings) as session:
        print(f"Watching {options.image}; Ctrl-C ends it.", file=sys.stderr)
        _Watch(session, options, picture).run()
    return 0


class _Watch:
    """Sends the file as it changes and writes what comes back."""

    def __init__(self, session: LiveSession, options: argparse.Namespace, picture: Picture) -> None:
        self._session = session
        self._options = options
        self._picture = picture
        self._stamp = _stamp(options.image)
        self._told = ""

    def run(self) -> None:
        from core_server.commands.output_files import write_picture  # noqa: PLC0415

        wanted, written = self._options.pictures, 0
        self._send()
        while wanted is None or written < wanted:
            painted = self._session.latest(_POLL_SECONDS)
            if painted is not None and not painted.unchanged:
                same_size = painted.pixels.extent == self._picture.pixels.extent
                like = self._picture if same_size else None
                write_picture(self._options.output, painted.pixels, like)
                written += 1
                figures = self._session.figures
                rate = figures.frames_per_second
                pace = f"  {rate:.2f} pictures/s" if rate else ""
                print(
                    f"{self._options.output}  {painted.latency * 1000:.0f} ms{pace}  "
                    f"{figures.dropped} dropped",
                    flush=True,
                )
            self._tell(self._session.waiting)
            stamp = _stamp(self._options.image)
            if stamp not in (None, self._stamp):
                self._stamp = stamp
                self._read()
                self._send()

    def _read(self) -> None:
        from core_server.commands.files import read_picture  # noqa: PLC0415
        from core_server.commands.output_files import check_output  # noqa: PLC0415

        for tries_left in range(_SETTLE_TRIES, -1, -1):
            try:
                self._picture = read_picture(self._options.image)
            except CommandError:
                if not tries_left:
                    raise
                time.sleep(_SETTLE_SECONDS)
            else:
                check_output(self._options.output, self._picture.pixels)
                return

    def _send(self) -> None:
        pixels = self._picture.pixels
        size = self._options.size
        if size is not None:
            scale = size / max(pixels.width, pixels.height)
            extent = (max(1, round(pixels.width * scale)), max(1, round(pixels.height * scale)))
            self._session.change(extent=extent)
        self._session.send(pixels)

    def _tell(self, message: str) -> None:
        if message and message != self._told:
            print(message, file=sys.stderr)
        self._told = message


def _stamp(path: Path) -> tuple[int, int] | None:
    """Changes when the file does; None while there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size
