"""Live painting: pictures a second and the time from a canvas to its picture, in the client, over gRPC."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from core_server import heap
from core_server.benchmarks.image_cases import CASES
from core_server.benchmarks.machine import machine_line
from core_server.benchmarks.made_models import need_model
from core_server.benchmarks.report import Report, Row
from core_server.benchmarks.setting import CannotMeasure, Setting
from core_server.benchmarks.timing import noise_picture

if TYPE_CHECKING:
    from scumble.client import Client, Live, LiveSession, Pixels

PROMPT, STRENGTH, SEED = "red bricks with white mortar", 0.5, 7
SIDE, QUICK_SIDE = 256, 32
SIDES = {"tiny": 64, "sd-turbo": 512}
"""Of models that are no material model; sd-turbo is a case of the suite `images`."""
PICTURES, QUICK_PICTURES = 40, 4
HURRY = 8
"""Canvases for each picture, from a client that does not wait."""
SECONDS = 300.0
SENDING_SECONDS = 0.002
"""For a canvas to be on its way."""
CANVASES, WARM = 16, 5
"""Of a client that does not wait, over and over: no two in a row alike; how many each session paints before any
counts: a size that is new to the server has its graph recorded with the first of them."""
IN_FLIGHT = {2: "two", 3: "three"}
"""Canvases whose pictures have not come yet: where two are, one is painted while the other travels."""
PACE, PACE_SHARE, PACED, PACED_SECONDS = 151.0, 0.95, 6, 10.0
"""Canvases a second of a client that keeps time, as a host application with a clock does; where two in flight reach
fewer, this share of what they reach. Its latency is taken from so many times as many pictures, within so many seconds.
"""


def run(setting: Setting) -> Report:
    """For 1 and 2 steps: a client that sends the next canvas when it has the picture, and one that has the next one on
    its way by then, as a host application does; then one in a hurry."""
    side = QUICK_SIDE if setting.quick else SIDES.get(setting.model, SIDE)
    count = QUICK_PICTURES if setting.quick else max(setting.runs, 1) * PICTURES // 5
    rows: list[Row] = []
    details: dict[str, Any] = {}
    # A pause of Python's in this process would count as the server's.
    with _server(setting) as client, heap.settled():
        for steps in (1, 2):
            settings = _settings(setting.model, steps)
            with client.live(settings) as session:
                for number in range(WARM):
                    _painted(session, noise_picture(number, side, side, 3))
                rows += _in_turns(session, steps, side, count, details)
                for many in IN_FLIGHT:
                    rate, found = _overlapping(session, many, steps, side, count, details)
                    rows += found
                    if steps == 1 and many == 2:
                        pace = min(PACE, PACE_SHARE * rate)
                        many_more = min(count * PACED, max(count, round(pace * PACED_SECONDS)))
                        rows += _paced(session, pace, side, many_more, details)
        rows += _hurried(client, setting.model, side, count)
        device = client.server_info().device
    return Report("live", setting.command("live"), machine_line(device), rows, details)


@contextmanager
def _server(setting: Setting) -> Iterator[Client]:
    """The user's; for a case of the suite `images` a fresh one that has its model."""
    if setting.model not in CASES:
        with setting.connect() as client:
            yield client
        return
    fresh = setting.need_fresh()
    with tempfile.TemporaryDirectory(prefix="scumble-bench-") as folder:
        data_dir = setting.out or Path(folder)
        need_model(setting.model, data_dir, setting)
        with fresh(data_dir) as client:
            yield client


def _in_turns(
    session: LiveSession, steps: int, side: int, count: int, details: dict[str, Any]
) -> list[Row]:
    latencies, painting = [], []
    canvases = [noise_picture(100 + number, side, side, 3) for number in range(count)]
    start = time.perf_counter()
    for canvas in canvases:
        sent = time.perf_counter()
        painting.append(_painted(session, canvas) * 1000)
        latencies.append((time.perf_counter() - sent) * 1000)
    rate = count / (time.perf_counter() - start)
    name = _name(steps)
    details[name] = {"latency_ms": latencies, "worker_ms": painting}
    outside = median(a - b for a, b in zip(latencies, painting, strict=True))
    return [
        Row(f"{name}, {side} px", rate, "pictures/s", headline=True,
            note=f"the next canvas when the picture is there; {count} of them"),
        Row(f"{name}, latency p50", median(latencies), "ms", headline=True,
            note="canvas to pixels, in the client"),
        Row(f"{name}, latency p99", float(np.percentile(latencies, 99)), "ms", headline=True),
        Row(f"{name}, outside the worker", outside, "ms", note="client, gRPC and gateway"),
    ]  # fmt: skip


def _overlapping(  # noqa: PLR0917
    session: LiveSession, many: int, steps: int, side: int, count: int, details: dict[str, Any]
) -> tuple[float, list[Row]]:
    """The next canvas is sent before the last picture has come: so many are under way at any time. Pictures a second,
    and the rows."""
    canvases = [noise_picture(500 + number, side, side, 3) for number in range(CANVASES)]
    sent: dict[int, float] = {}
    latencies: list[float] = []
    before, start = session.figures.pictures, time.perf_counter()
    first = last = session.send(canvases[0])
    sent[first] = start
    done, end = first - 1, first + count - 1
    while done < end:
        while last - done < many and last < end:
            # Two at once are one: the second takes the place of the first, which is not on its way yet.
            time.sleep(max(0.0, sent[last] + SENDING_SECONDS - time.perf_counter()))
            last = session.send(canvases[(last - first + 1) % CANVASES])
            sent[last] = time.perf_counter()
        picture = session.latest(SECONDS)
        if picture is None:
            raise CannotMeasure(f"No picture came within {SECONDS:g} s.")
        done = picture.frame_number
        latencies.append((time.perf_counter() - sent[done]) * 1000)
    rate = (session.figures.pictures - before) / (time.perf_counter() - start)
    name = f"{_name(steps)}, {IN_FLIGHT[many]} in flight"
    details[name] = {"latency_ms": latencies}
    return rate, [
        Row(f"{name}, {side} px", rate, "pictures/s", headline=True,
            note=f"the next canvas is on its way when the picture comes; {count} of them"),
        Row(f"{name}, latency p50", median(latencies), "ms", headline=True,
            note="canvas to pixels, in the client"),
        Row(f"{name}, latency p99", float(np.percentile(latencies, 99)), "ms", headline=True),
    ]  # fmt: skip


def _paced(
    session: LiveSession, pace: float, side: int, count: int, details: dict[str, Any]
) -> list[Row]:
    """A canvas every 1 / `pace` s, whatever comes back. Each picture's time counts from when its canvas was due; a
    canvas that a newer one replaced has no picture."""
    canvases = [noise_picture(700 + number, side, side, 3) for number in range(CANVASES)]
    due: dict[int, float] = {}
    start = time.perf_counter()

    def send() -> None:
        for number in range(count):
            at = start + number / pace
            time.sleep(max(0.0, at - time.perf_counter()))
            due[session.send(canvases[number % CANVASES])] = at

    before, latencies, taken = session.figures.pictures, [], _taken_away()
    sender = threading.Thread(target=send, name="canvases", daemon=True)
    sender.start()
    last, patience = 0, start + count / pace + SECONDS
    while len(due) < count or last < max(due):
        picture = session.latest(1.0)
        if picture is None:
            if time.perf_counter() > patience:
                raise CannotMeasure(f"No picture came within {SECONDS:g} s.")
            continue
        now, last = time.perf_counter(), picture.frame_number
        while last not in due and sender.is_alive():  # the picture came before the sender went on
            time.sleep(0)
        latencies.append((now - due[last]) * 1000)
    seconds = time.perf_counter() - start
    rate, taken = (session.figures.pictures - before) / seconds, _taken_away() - taken
    name = f"{_name(1)}, at a steady pace"
    details[name] = {"latency_ms": latencies}
    return [
        Row(f"{name}, {side} px", rate, "pictures/s", headline=True,
            note=f"{pace:.1f} canvases/s, {count} of them; {count - len(latencies)} gave way to newer ones"),
        Row(f"{name}, latency p50", median(latencies), "ms", headline=True,
            note="from when the canvas was due to its pixels, in the client; the session is warm"),
        Row(f"{name}, latency p99", float(np.percentile(latencies, 99)), "ms", headline=True,
            note=f"of all {len(latencies)} pictures"),
        Row(f"{name}, slowest", max(latencies), "ms",
            note=f"meanwhile other machines of the same host had {taken / seconds:.2f} of our cores (steal)"),
    ]  # fmt: skip


def _taken_away() -> float:
    """Seconds of all cores that a virtual machine wanted and its host gave to others, so far; Linux tells."""
    return float(getattr(psutil.cpu_times(), "steal", 0.0))


def _settings(model: str, steps: int) -> Live:
    from scumble.client import Live  # noqa: PLC0415

    guidance = CASES[model].guidance_scale if model in CASES else None
    return Live(
        PROMPT, model=model, strength=STRENGTH, seed=SEED, num_inference_steps=steps,
        guidance_scale=guidance,
    )  # fmt: skip


def _name(steps: int) -> str:
    return f"{steps} step{'s' if steps > 1 else ''}"


def _hurried(client: Client, model: str, side: int, count: int) -> list[Row]:
    """Several canvases for each picture: how many are dropped, so that the newest is painted next."""
    settings = _settings(model, 1)
    canvases = [noise_picture(1000 + number, side, side, 3) for number in range(CANVASES)]
    with client.live(settings) as session:
        for canvas in canvases[:WARM]:
            pause = _painted(session, canvas) / HURRY
        last, before, start = 0, session.figures.pictures, time.perf_counter()
        for number in range(count * HURRY):
            last = session.send(canvases[number % CANVASES])
            time.sleep(pause)
        rate = (session.figures.pictures - before) / (time.perf_counter() - start)
        deadline = time.monotonic() + SECONDS
        while (picture := session.latest(SECONDS)) is None or picture.frame_number < last:
            if time.monotonic() > deadline:
                raise CannotMeasure("The last canvas of a live session was never painted.")
        figures = session.figures
    share = 100 * figures.dropped / figures.sent
    note = (
        f"{figures.sent} canvases, {HURRY} for each picture's time; the last one is always painted"
    )
    return [
        Row(f"1 step in a hurry, {side} px", rate, "pictures/s", headline=True,
            note="canvases keep coming while pictures are painted"),
        Row("dropped in a hurry", share, "%", note=note),
    ]  # fmt: skip


def _painted(session: LiveSession, canvas: Pixels) -> float:
    """Sends a canvas and waits for its picture; the seconds it took in the worker."""
    number = session.send(canvas)
    while True:
        picture = session.latest(SECONDS)
        if picture is None:
            raise CannotMeasure(f"No picture came within {SECONDS:g} s.")
        if picture.frame_number >= number:
            return picture.painting
