"""scumble bench: what the server costs beside the same pipeline call in-process."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core_server.commands.errors import CommandError, NotInThisVersion
from core_server.commands.options import Subparsers, add_command, add_server_options, model_name

if TYPE_CHECKING:
    from scumble.client import Client, Pixels

SIDE = 1024
STRENGTH, STEPS, SEED = 0.5, 4, 7
"""Two steps are run: little enough of painting that the server's own share can be seen."""
_EXAMPLES = """\
  scumble bench --suite server --model tiny
  scumble bench --suite server --device cuda --runs 20 --json result.json
"""


def register(subparsers: Subparsers) -> None:
    """Adds the command."""
    parser = add_command(subparsers, "bench", run, "measure the server", examples=_EXAMPLES)
    parser.add_argument(
        "--suite",
        choices=("server",),
        default="server",
        help=f"server: {SIDE} x {SIDE} RGBA in and out through the server, beside the same call in-process",
    )
    parser.add_argument(
        "--against",
        choices=("diffusers",),
        help="compare with another program (not in this version yet)",
    )
    parser.add_argument(
        "--runs", type=int, default=5, metavar="N", help="measured runs each (default 5)"
    )
    parser.add_argument(
        "--model", default="tiny", metavar="ID|DIR", help="the model (default tiny)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    add_server_options(parser, with_json=False)


def run(options: argparse.Namespace) -> int:
    """Measures, in turns, so that whatever else the computer does falls on both."""
    from core_server.commands.session import connected  # noqa: PLC0415

    if options.against:
        raise NotInThisVersion("Comparing with another program")
    if options.runs < 1:
        raise CommandError(f"--runs is {options.runs}; it must be 1 or more.")
    model = model_name(options.model)
    with connected(options) as client, _in_process(model, options) as call:
        _round_trip(client, model, _picture(0))  # loads the model
        call()
        through, direct, transfers = [], [], []
        for index in range(1, options.runs + 1):
            picture = _picture(
                index
            )  # a new one: a picture the server knows would not be stored again
            through.append(_timed(lambda picture=picture: _round_trip(client, model, picture)))
            direct.append(call())
            transfers.append(_timed(lambda index=index: _transfer(client, _picture(-index))))
        device = client.server_info().device
    result = _summary(through, direct, transfers) | {"model": options.model, "device": device}
    for name, value in result.items():
        print(f"{name:26} {value}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def _summary(through: list[float], direct: list[float], transfers: list[float]) -> dict[str, Any]:
    server, call = statistics.median(through), statistics.median(direct)
    return {
        "suite": "server",
        "picture": f"{SIDE} x {SIDE} RGBA, 8 bit",
        "runs": len(through),
        "server_median_s": round(server, 4),
        "in_process_median_s": round(call, 4),
        "ratio": round(server / call, 4),
        "overhead_ms": round((server - call) * 1000, 1),
        "upload_and_download_ms": round(statistics.median(transfers) * 1000, 1),
    }


def _picture(seed: int) -> Pixels:
    import numpy as np  # noqa: PLC0415

    from scumble.client import Pixels  # noqa: PLC0415

    random = np.random.default_rng(abs(seed) * 2 + (seed < 0))
    array = random.integers(0, 256, (SIDE, SIDE, 4), dtype=np.uint8)
    array[..., 3] = 255
    return Pixels.from_numpy(array)


def _round_trip(client: Client, model: str, picture: Pixels) -> None:
    from scumble.client import ImageToImage  # noqa: PLC0415

    request = ImageToImage(
        "stone", picture, strength=STRENGTH, num_inference_steps=STEPS, seed=SEED, model=model
    )
    [patch] = client.submit(request).result()
    assert patch.pixels.extent == (SIDE, SIDE)


def _transfer(client: Client, picture: Pixels) -> None:
    client.download(client.upload(picture))


def _timed(action: Any) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


@contextmanager
def _in_process(model: str, options: argparse.Namespace) -> Iterator[Any]:
    """A function that makes the same call once, without a server, and returns its seconds.

    It runs in a process of its own, because this one is to stay free of torch.
    """
    command = [sys.executable, "-m", "core_server.commands.bench_in_process", model, options.device]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        talk, listen = process.stdin, process.stdout

        def call() -> float:
            talk.write("once\n")
            talk.flush()
            line = listen.readline()
            if not line:
                raise CommandError("The call in-process failed; its own message stands above.")
            return float(line)

        try:
            yield call
        finally:
            talk.close()
