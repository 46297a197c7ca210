"""scumble bench: measures this machine, the server and the default model."""

from __future__ import annotations

import argparse
import copy
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from core_server.benchmarks.suites import SUITES
from core_server.commands.errors import CommandError
from core_server.commands.options import Subparsers, add_command, add_server_options, model_name

if TYPE_CHECKING:
    from scumble.client import Client

_EXAMPLES = """\
  scumble bench --suite server --against diffusers --runs 20
  scumble bench --suite default-model --photos ambientcg128/ --json result.json
  scumble bench --suite canvas --quick
"""
_DESCRIPTION = """\
Measure, and print a table, the machine and a line for docs/benchmarks.md. Compare figures of one run with each other.
"""


def register(subparsers: Subparsers) -> None:
    """Adds the command."""
    parser = add_command(
        subparsers, "bench", run, "measure this machine, the server and the default model",
        examples=_EXAMPLES, description=_DESCRIPTION,
    )  # fmt: skip
    suites = "; ".join(f"{name}: {what}" for name, (_, _, what) in SUITES.items())
    parser.add_argument("--suite", choices=tuple(SUITES), default="server", help=suites)
    parser.add_argument(
        "--against",
        choices=("diffusers",),
        help="the stock pipeline in the same run (suites server and images)",
    )
    parser.add_argument(
        "--denoiser-precision",
        choices=("fp8", "int8"),
        help="the pictures in that precision, too (suite images)",
    )
    parser.add_argument(
        "--runs", type=int, default=5, metavar="N", help="measured runs each (default 5)"
    )
    parser.add_argument(
        "--model", metavar="ID|DIR", help="the model; each suite has its own default"
    )
    parser.add_argument(
        "--quick", action="store_true", help="small: shows that it works, not how fast"
    )
    parser.add_argument(
        "--photos", type=Path, metavar="DIR", help="CC0 photographs to compare with (default-model)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="keep there what is made: pictures (default-model), models and figures as they come (images, live)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    add_server_options(parser, with_json=False)


def run(options: argparse.Namespace) -> int:
    """Runs one suite; a missed target is a figure, not a failure."""
    from core_server.benchmarks.setting import CannotMeasure, Setting  # noqa: PLC0415
    from core_server.benchmarks.suites import run_suite  # noqa: PLC0415
    from core_server.commands.session import connected  # noqa: PLC0415

    _check(options)
    options.model = model_name(options.model or SUITES[options.suite][1], options.data_dir)

    def fresh(data_dir: Path) -> AbstractContextManager[Client]:
        own = copy.copy(options)
        own.data_dir = data_dir
        if (
            options.suite == "images"
        ):  # its models are made in that folder, and loaded when they are measured
            own.model = "tiny"
        return connected(own)

    setting = Setting(
        model=options.model,
        device=options.device,
        runs=options.runs,
        quick=options.quick,
        against=options.against or "",
        precision=options.denoiser_precision or "",
        photos=options.photos,
        out=options.out,
        connect=lambda: connected(options),
        fresh=None if options.server else fresh,
    )
    try:
        report = run_suite(options.suite, setting)
    except CannotMeasure as error:
        raise CommandError(str(error)) from None
    report.print()
    if options.json:
        options.json.write_text(json.dumps(report.as_json(), indent=2) + "\n", encoding="utf-8")
    return 0


def _check(options: argparse.Namespace) -> None:
    if options.runs < 1:
        raise CommandError(f"--runs is {options.runs}; it must be 1 or more.")
    if options.against and options.suite not in ("server", "images"):
        raise CommandError(
            f"--against belongs to the suites server and images, not to {options.suite}."
        )
    if options.denoiser_precision and options.suite != "images":
        raise CommandError(
            f"--denoiser-precision belongs to the suite images, not to {options.suite}."
        )
    if options.photos and options.suite != "default-model":
        raise CommandError(f"--photos belongs to the suite default-model, not to {options.suite}.")
    if options.out and options.suite not in ("default-model", "images", "live"):
        raise CommandError(
            f"--out belongs to the suites default-model, images and live, not to {options.suite}."
        )
    if options.photos and not options.photos.is_dir():
        raise CommandError(f"--photos {options.photos} is no folder.")
    if options.json and not options.json.absolute().parent.is_dir():
        raise CommandError(f"--json {options.json}: its folder does not exist; make it first.")
