"""From nothing to pictures: how long a fresh server takes to answer, to paint first and again."""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from core_server.benchmarks.machine import machine_line
from core_server.benchmarks.report import Report, Row, at_most
from core_server.benchmarks.setting import Setting
from core_server.benchmarks.timing import timed

if TYPE_CHECKING:
    from scumble.client import Client

PROMPT = "teal hexagon tiles"
FIRST_PICTURE_SECONDS = 15.0
"""docs/default-model.md: the first picture after a cold start."""


def run(setting: Setting) -> Report:
    """Starts `setting.runs` servers, one after the other, on empty data folders."""
    answers, firsts, seconds, device = [], [], [], ""
    for _ in range(setting.runs):
        started = start_once(setting, 128 if setting.quick else 256)
        answers.append(started.answer)
        firsts.append(started.first)
        seconds.append(started.second)
        device = started.device
    rows = [
        Row("answers after", median(answers), "s", headline=True,
            note="from the start of the process until a client is connected"),
        Row("first picture after", median(firsts), "s", at_most(FIRST_PICTURE_SECONDS), headline=True,
            note="from the start of the process; imports, loading and painting"),
        Row("slowest first picture", max(firsts), "s", at_most(FIRST_PICTURE_SECONDS)),
        Row("second picture", median(seconds), "s", note="the same size, warm", headline=True),
    ]  # fmt: skip
    return Report("start", setting.command("start"), machine_line(device), rows)


class Started:
    """Seconds from the start of the server process: `answer`, `first` picture; `second` alone."""

    def __init__(self, answer: float, first: float, second: float, device: str) -> None:
        self.answer, self.first, self.second, self.device = answer, first, second, device


def start_once(setting: Setting, side: int) -> Started:
    """One server, two pictures of side x side px."""
    fresh = setting.need_fresh()
    with tempfile.TemporaryDirectory(prefix="scumble-bench-") as folder:
        began = perf_counter()
        with fresh(Path(folder)) as client:
            answer = perf_counter() - began
            _paint(client, setting.model, side, seed=1)
            first = perf_counter() - began
            second = timed(lambda: _paint(client, setting.model, side, seed=2))
            return Started(answer, first, second, client.server_info().device)


def _paint(client: Client, model: str, side: int, *, seed: int) -> None:
    from scumble.client import TextToImage  # noqa: PLC0415

    request = TextToImage(PROMPT, side, side, model=model, seamless="xy", seed=seed)
    client.submit(request).result()
