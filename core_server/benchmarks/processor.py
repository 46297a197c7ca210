"""The embedded model on a processor: as it is served, beside stock diffusers with the same weights and steps."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from statistics import median

import numpy as np

from core_server.benchmarks.machine import machine_line
from core_server.benchmarks.other_side import other_side
from core_server.benchmarks.report import Report, Row, at_least
from core_server.benchmarks.setting import Setting

STARTS = ("noise", "picture")
WAYS = ("served", "stock", "patient")
"""Stock diffusers as PyTorch sets itself up, and with threads that sleep while they wait."""
SIDES, QUICK_SIDE = (256, 512), 128
FASTER, DECIBELS = 1.5, 40.0


def run(setting: Setting) -> Report:
    """Measures in turns, so that whatever else the computer does falls on both sides."""
    rows: list[Row] = []
    seconds: dict[str, dict[str, list[float]]] = {}
    for side in (QUICK_SIDE,) if setting.quick else SIDES:
        for start in STARTS:
            name = f"{side} px from {start}"
            seconds[name], likeness = _case(setting, start, side)
            served, stock, patient = (median(seconds[name][way]) for way in WAYS)
            rows += [
                Row(f"{name}: served", served, "s"),
                Row(f"{name}: stock / served", stock / served, "", at_least(FASTER), headline=True),
                Row(f"{name}: patient stock / served", patient / served, headline=True,
                    note="stock with OMP_WAIT_POLICY=PASSIVE, as the worker has it"),
                Row(f"{name}: likeness", likeness, "dB", at_least(DECIBELS)),
            ]  # fmt: skip
    return Report(
        "processor", setting.command("processor"), machine_line("cpu"), rows, {"seconds": seconds}
    )


def _case(setting: Setting, start: str, side: int) -> tuple[dict[str, list[float]], float]:
    """Seconds of each way, and how like their pictures are."""
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(prefix="scumble-bench-") as folder, ExitStack() as stack:
        files = {way: Path(folder) / f"{way}.npy" for way in found}
        sides = {
            way: stack.enter_context(_side(way, setting, start, side, file))
            for way, file in files.items()
        }
        for _ in range(2):  # what is only slow at first
            for once in sides.values():
                once()
        for _ in range(setting.runs):
            for way, once in sides.items():
                found[way].append(once())
        stack.close()
        pictures = [np.load(file).astype(np.float64) for file in files.values()]
    error = float(((pictures[0] - pictures[1]) ** 2).mean())
    return found, 10 * float(np.log10(255**2 / max(error, 1e-3)))


def _side(
    way: str, setting: Setting, start: str, side: int, file: Path
) -> AbstractContextManager[Callable[[], float]]:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    if (
        setting.quick
    ):  # nobody reads the seconds, and threads that spin would take minutes on a busy machine
        environment["OMP_NUM_THREADS"] = "1"
    if way == "patient":
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
    kind = "served" if way == "served" else "stock"
    return other_side(
        "processor_side", kind, setting.model, start, side, file, environment=environment
    )
