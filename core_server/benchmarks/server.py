"""What the server costs: a picture through it, beside the same call in a process without a server."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from time import perf_counter, time_ns
from typing import TYPE_CHECKING

from core_server.benchmarks.job import PROMPT, SEED, SIDE, STEPS, STRENGTH
from core_server.benchmarks.machine import machine_line
from core_server.benchmarks.other_side import other_side
from core_server.benchmarks.report import Report, Row, at_most
from core_server.benchmarks.setting import Setting
from core_server.benchmarks.timing import noise_picture, only, timed

if TYPE_CHECKING:
    from scumble.client import Client, Pixels

OVERHEAD_MS, OVERHEAD_SHARE = 5.0, 0.01
"""The goal on a GPU machine: 5 ms and 1 % above the same call in-process."""

CROWDS = (4, 16)
"""Clients at once, each with a connection and one picture of its own."""


@dataclass(frozen=True)
class Crowd:
    """wall: seconds from the first request to the last pixels. direct: of the same call in-process, meanwhile."""

    wall: float
    direct: float


def run(setting: Setting) -> Report:
    """Measures in turns, so that whatever else the computer does falls on every side."""
    side = 128 if setting.quick else SIDE
    ways = ["scumble", *([setting.against] if setting.against else [])]
    kinds = ("server", "outside", "upload", "download", *ways)
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    crowds: dict[int, Crowd] = {}
    seeds = itertools.count(time_ns())  # a known picture would not be stored again
    with ExitStack() as stack:
        client = stack.enter_context(setting.connect())
        calls = {
            way: stack.enter_context(
                other_side("in_process", way, setting.model, setting.device, "--side", side)
            )
            for way in ways
        }
        first = noise_picture(next(seeds), side, side)
        _round_trip(client, setting.model, first)  # loads the model
        for call in calls.values():
            call()
        for _ in range(setting.runs):
            picture = noise_picture(next(seeds), side, side)
            whole, outside = _round_trip(client, setting.model, picture)
            seconds["server"].append(whole)
            seconds["outside"].append(outside)
            for way, call in calls.items():
                seconds[way].append(call())
            other = noise_picture(next(seeds), side, side)
            start = perf_counter()
            image_id = client.upload(other)
            seconds["upload"].append(perf_counter() - start)
            seconds["download"].append(timed(partial(client.download, image_id)))
        for count in CROWDS:
            before = calls["scumble"]()
            wall = _crowd(setting, count, side, seeds)
            crowds[count] = Crowd(wall, (before + calls["scumble"]()) / 2)
        device = client.server_info().device
    server, direct = median(seconds["server"]), median(seconds["scumble"])
    rows = [
        Row("through the server", server, "s", headline=True, note=f"{side} x {side} RGBA in and out"),
        Row("in-process", direct, "s", headline=True, note="the same runtime without a server"),
        Row("ratio", server / direct, headline=True),
        Row("overhead", (server - direct) * 1000, "ms",
            at_most(OVERHEAD_MS + OVERHEAD_SHARE * direct * 1000), headline=True),
        Row("of it outside the run", median(seconds["outside"]) * 1000, "ms",
            note="request to pixels less the time between the job's start and end; holds on a busy machine"),
        Row("an upload", median(seconds["upload"]) * 1000, "ms", note="until it is on disk"),
        Row("a download", median(seconds["download"]) * 1000, "ms"),
    ]  # fmt: skip
    for count, crowd in crowds.items():
        rows.append(
            Row(
                f"{count} clients, overhead for each picture",
                (crowd.wall / count - crowd.direct) * 1000,
                "ms",
                at_most(OVERHEAD_MS + OVERHEAD_SHARE * crowd.direct * 1000),
                headline=True,
                note=f"{count} pictures in {crowd.wall:.3g} s; in-process {crowd.direct:.3g} s each, before and after",
            )
        )
    if setting.against:
        stock = median(seconds[setting.against])
        rows += [
            Row(f"stock {setting.against}", stock, "s", headline=True,
                note="its own image-to-image pipeline, eager, same weights, same run"),
            Row(f"in-process / stock {setting.against}", direct / stock, headline=True),
            Row(f"through the server / stock {setting.against}", server / stock, headline=True),
        ]  # fmt: skip
    details = {"seconds": seconds, "crowds": {count: asdict(it) for count, it in crowds.items()}}
    return Report("server", setting.command("server"), machine_line(device), rows, details)


def _round_trip(client: Client, model: str, picture: Pixels) -> tuple[float, float]:
    """Seconds from request to pixels, and those of them in which the job was not running."""
    from scumble.client import ImageToImage  # noqa: PLC0415

    request = ImageToImage(
        PROMPT, picture, strength=STRENGTH, num_inference_steps=STEPS, seed=SEED, model=model
    )
    start = perf_counter()
    job = client.submit(request)
    patch = only(job.result())
    seconds = perf_counter() - start
    assert patch.pixels.extent == picture.extent
    status = job.status()
    assert status.start_time is not None
    assert status.end_time is not None
    return seconds, seconds - (status.end_time - status.start_time).total_seconds()


def _crowd(setting: Setting, count: int, side: int, seeds: Iterator[int]) -> float:
    """Seconds from the first request to the last pixels."""
    with ExitStack() as stack:
        clients = [stack.enter_context(setting.connect()) for _ in range(count)]
        pictures = [noise_picture(next(seeds), side, side) for _ in clients]
        pool = stack.enter_context(ThreadPoolExecutor(count))

        def paint(client: Client, picture: Pixels) -> None:
            _round_trip(client, setting.model, picture)

        return timed(lambda: list(pool.map(paint, clients, pictures)))
