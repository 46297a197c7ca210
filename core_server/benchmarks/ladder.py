"""What each rung of the memory ladder takes and costs, and what a card of a given size ends up with.

    python -m core_server.benchmarks.ladder [FOLDER] [CASE ...] [--steps 4] [--seconds 360] [--json F] [--markdown F]

For a CUDA device; cases are those of the suite `images`. Each case has a process of its own, which makes the model in
FOLDER and measures (the first picture, one with the same prompt, one with another): cards of several sizes (the
allocator is capped, so that memory really runs out there), one card that seems larger than it is, and every rung with
all the memory there is. One measurement that fails is a result like the others. FOLDER is best in memory (/dev/shm, the
default where it is large enough): loading is then copying. What was found is written after each measurement, and each
model goes when it was measured, unless `--keep`. On a CPU, with `--device cpu --small`, sizes are planned for, not met.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from core_server.benchmarks.image_cases import CASES, PROMPT, QUICK_SIDE, SEED
from core_server.benchmarks.ladder_table import as_markdown

GB = 1_000_000_000
CARDS = {
    "sdxl": (8.0, 6.0, 12.0, 4.0),
    "klein": (8.0, 12.0),
    "sd15": (4.0, 6.0),
    "z-image": (12.0, 8.0),
}
"""Gigabytes that each case is measured at, the most wanted first."""
MISJUDGED = {"sdxl": 6.0, "klein": 8.0, "sd15": 2.0, "z-image": 8.0}
"""Gigabytes of the card whose memory is taken for endless until it runs out."""


def main(argv: list[str] | None = None) -> None:
    """Every case in a process of its own; or, with --one, what such a process does."""
    options = _options(argv)
    if options.one:
        _measure_one(options)
        return
    start, found = time.monotonic(), []
    with _folder(options) as folder:
        for number, name in enumerate(options.cases):
            left = options.seconds - (time.monotonic() - start)
            share = left / (len(options.cases) - number)
            for line in _lines_of(_command(options, folder, name, share), share, name):
                found.append(line)
                print(json.dumps(line), flush=True)  # noqa: T201  the result
                _write(found, options)
            if not options.keep:
                shutil.rmtree(folder / "models" / name, ignore_errors=True)


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path, nargs="?", help="default: one in memory")
    parser.add_argument("cases", nargs="*", help=f"default: {' '.join(CARDS)}")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--side", type=int, help="px; each case has its own")
    parser.add_argument("--gigabytes", type=float, nargs="*", help="cards; each case has its own")
    parser.add_argument("--misjudged", type=float, nargs="*", help="cards taken for endless")
    parser.add_argument("--keep", action="store_true", help="the models stay in FOLDER")
    parser.add_argument("--rungs", nargs="*", help="rungs, such as vae_tiled; default: every one")
    parser.add_argument("--seconds", type=float, default=360.0, help="nothing is begun after that")
    parser.add_argument("--json", type=Path, help="a line for each measurement")
    parser.add_argument("--markdown", type=Path, help="tables for docs/benchmarks.md")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="a few channels, to see that it works")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.folder is not None and str(options.folder) in CASES:
        options.cases.insert(0, str(options.folder))
        options.folder = None
    options.cases = [{"zimage": "z-image"}.get(it, it) for it in options.cases] or list(CARDS)
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"there is no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    return options


@contextmanager
def _folder(options: argparse.Namespace) -> Iterator[Path]:
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
        yield options.folder
        return
    memory = Path("/dev/shm")  # noqa: S108  where it is large enough for the largest model
    in_memory = memory.is_dir() and shutil.disk_usage(memory).free > 24 * GB
    with tempfile.TemporaryDirectory(dir=memory if in_memory else None) as made:
        yield Path(made)


def _command(options: argparse.Namespace, folder: Path, name: str, share: float) -> list[str]:
    command = [sys.executable, "-m", __spec__.name, str(folder), name, "--one"]
    command += [f"--seconds={share}", f"--steps={options.steps}", f"--device={options.device}"]
    command += ["--small"] if options.small else []
    command += [f"--side={options.side}"] if options.side else []
    if options.gigabytes is not None:
        command += ["--gigabytes", *map(str, options.gigabytes)]
    if options.misjudged is not None:
        command += ["--misjudged", *map(str, options.misjudged)]
    if options.rungs is not None:
        command += ["--rungs", *options.rungs]
    return command


def _lines_of(command: list[str], share: float, name: str) -> Iterator[dict[str, Any]]:
    """What the process says, as it says it. It gets twice its time, and a minute, before it is ended."""
    if share <= 0:
        yield {"case": name, "failed": "left out: the time was up"}
        return
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    patience = threading.Timer(2 * share + 60, process.kill)
    patience.start()
    assert process.stdout is not None
    try:
        yield from (json.loads(line) for line in process.stdout if line.startswith("{"))
        code = process.wait()
    finally:
        patience.cancel()
        process.kill()
    if code:
        yield {"case": name, "failed": f"its process ended with status {code}"}


def _write(found: list[dict[str, Any]], options: argparse.Namespace) -> None:
    if options.json:
        text = "".join(json.dumps(line) + "\n" for line in found)
        options.json.write_text(text, encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(as_markdown(found), encoding="utf-8")


def _measure_one(options: argparse.Namespace) -> None:
    from core_server.benchmarks.ladder_case import LadderCase  # noqa: PLC0415  the parent does without torch

    [name], start = options.cases, time.monotonic()
    side = options.side or (QUICK_SIDE if options.small else CASES[name].side)
    case = LadderCase(
        name, options.folder, options.device, side, options.steps, PROMPT, SEED, small=options.small
    )
    cards = CARDS.get(name, ()) if options.gigabytes is None else options.gigabytes
    plan: list[tuple[dict[str, Any], Any]] = [({"made": True}, case.make)]
    plan += [({"gigabytes": it}, partial(case.capped, it)) for it in cards]
    usual = [MISJUDGED[name]] if name in MISJUDGED else []
    for size in usual if options.misjudged is None else options.misjudged:
        plan.append(({"gigabytes": size, "misjudged": True}, partial(case.misjudged, size)))
    rungs = {it.name.lower(): it for it in case.rungs}
    wanted = rungs if options.rungs is None else options.rungs
    plan += [({"rung": it}, partial(case.on, rungs[it])) for it in wanted]
    for what, measure in plan:
        begun = time.monotonic()
        if begun - start > options.seconds:
            found: dict[str, Any] = {"failed": "left out: the time was up"}
        else:
            found = case.tried(measure)
        took = round(time.monotonic() - begun, 2)
        print(json.dumps({"case": name, **what, **found, "took": took}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
