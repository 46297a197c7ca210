"""Pictures from request to pixels in the client, by models of full size with random weights made on the device.

`--model` names cases (sd15, sdxl, klein, z-image), with commas; `--against diffusers` paints the same pictures by stock
diffusers in the same run, in turns, and compares the pixels with its.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from core_server.benchmarks.image_cases import CASES, PROMPT, QUICK_SIDE, QUICK_STEPS, SEED, Case
from core_server.benchmarks.machine import machine_line
from core_server.benchmarks.report import Report, Row, at_least, at_most
from core_server.benchmarks.setting import CannotMeasure, Setting
from core_server.benchmarks.timing import only, timed

if TYPE_CHECKING:
    from scumble.client import Client

CLIENTS, JOBS_EACH = 8, 1
MOST_LATER, DECIBELS = 3.0, 40.0
"""What the first picture may take more than the next ones, seconds; how like stock diffusers pictures must be."""
PER_SECOND = 1.3
"""SDXL pictures a second for many clients."""

Picture = npt.NDArray[np.float32]


def run(setting: Setting) -> Report:
    """Every case named, one after the other, on a server of their own."""
    fresh = setting.need_fresh()
    names = setting.model.split(",")
    unknown = [name for name in names if name not in CASES]
    if unknown:
        raise CannotMeasure(f"There is no case {unknown[0]!r}; there are {', '.join(CASES)}.")
    rows: list[Row] = []
    details: dict[str, Any] = {}
    device = ""
    with tempfile.TemporaryDirectory(prefix="scumble-bench-") as folder:
        data_dir = setting.out or Path(folder)
        for name in names:
            _make_model(name, data_dir, setting)
        with fresh(data_dir) as client:
            device = client.server_info().device
            for name in names:
                found, details[name] = _Case(name, setting, client, data_dir).measured()
                rows += found
                # A long run that is ended early leaves what it has found.
                kept = json.dumps({"case": name, "rows": [asdict(row) for row in found]})
                with (data_dir / "images.jsonl").open("a", encoding="utf-8") as stream:
                    stream.write(kept + "\n")
    return Report("images", setting.command("images"), machine_line(device), rows, details)


class _Case:
    def __init__(self, name: str, setting: Setting, client: Client, data_dir: Path) -> None:
        self.name, self.case = name, CASES[name]
        self.setting, self.client, self.data_dir = setting, client, data_dir
        self.side = QUICK_SIDE if setting.quick else self.case.side
        self.steps = QUICK_STEPS if setting.quick else self.case.steps

    def measured(self) -> tuple[list[Row], dict[str, Any]]:
        """Rows and all seconds."""
        loading = timed(lambda: self.client.load_model(self.name))
        seconds: dict[str, list[float]] = {"first": [timed(self.paint)], "ours": [], "stock": []}
        picture = self.paint()
        same = bool((picture == self.paint()).all())
        keep = self.data_dir / f"{self.name}.npy"
        with _stock(self.setting, self.name, self.data_dir, self.side, self.steps, keep) as stock:
            for _ in range(2):
                stock()
            for _ in range(self.setting.runs):
                seconds["ours"].append(timed(self.paint))
                seconds["stock"].append(stock())
        rows = self._rows(seconds, loading, same)
        if self.setting.against:
            rows += self._against(seconds, picture, np.load(keep))
        if self.name == "sdxl" or self.setting.quick:
            rows.append(self._many_clients())
        recipe = self.recipe
        return rows, {
            "seconds": seconds,
            "kernels": recipe["kernels"],
            "launched": recipe["launched"],
        }

    def paint(self, client: Client | None = None, seed: int = SEED) -> Picture:
        """(height, width, 3) sRGB 0..1, from request to pixels."""
        from scumble.client import TextToImage  # noqa: PLC0415

        request = TextToImage(
            PROMPT, self.side, self.side, model=self.name, num_inference_steps=self.steps,
            guidance_scale=self.case.guidance_scale, seed=seed,
        )  # fmt: skip
        patch = only((client or self.client).submit(request).result())
        self.recipe: dict[str, Any] = dict(patch.recipe)
        return np.asarray(patch.pixels.numpy()[..., :3] / np.float32(255), np.float32)

    def _rows(self, seconds: dict[str, list[float]], loading: float, same: bool) -> list[Row]:
        title, steady = _title(self.case, self.side, self.steps), median(seconds["ours"])
        target = at_most(self.case.seconds) if self.case.seconds else None
        tiers = f"kernels: {self.recipe['kernels']}; launched: {self.recipe['launched']}"
        return [
            Row(title, steady, "s", target, f"request to pixels, median of {len(seconds['ours'])}; {tiers}",
                headline=True),
            Row(f"{self.name}: first picture", seconds["first"][0], "s", at_most(steady + MOST_LATER),
                "after the model is resident", headline=True),
            Row(f"{self.name}: loading", loading, "s"),
            Row(f"{self.name}: twice the same bits", float(same), "", at_least(1.0)),
        ]  # fmt: skip

    def _against(self, seconds: dict[str, list[float]], ours: Picture, stock: Picture) -> list[Row]:
        steady = median(seconds["stock"])
        error = float(np.mean((ours - stock) ** 2))
        decibels = 99.0 if error == 0 else float(-10 * np.log10(error))
        contrast = float(stock.max() - stock.min())
        return [
            Row(f"{self.name}: stock diffusers", steady, "s", note="eager, same weights, same run, in turns",
                headline=True),
            Row(f"{self.name}: times faster", steady / median(seconds["ours"]), "", headline=True),
            Row(f"{self.name}: likeness to stock", decibels, "dB", at_least(DECIBELS),
                f"PSNR; the picture itself spans {contrast:.2f} of 1", headline=True),
        ]  # fmt: skip

    def _many_clients(self) -> Row:
        import scumble.client  # noqa: PLC0415

        jobs = 1 if self.setting.quick else JOBS_EACH
        clients = [scumble.client.connect(data_dir=self.data_dir) for _ in range(CLIENTS)]

        def work(client: Client, first: int) -> None:
            for number in range(jobs):
                self.paint(client, seed=first + number)

        threads = [
            threading.Thread(target=work, args=(client, 100 * n))
            for n, client in enumerate(clients)
        ]
        start = perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rate = CLIENTS * jobs / (perf_counter() - start)
        for client in clients:
            client.close()
        return Row(f"{self.name}: {CLIENTS} clients", rate, "pictures/s", at_least(PER_SECOND),
                   f"{jobs} pictures each", headline=True)  # fmt: skip


def _title(case: Case, side: int, steps: int) -> str:
    return f"{case.title}, {side} px, {steps} steps"


def _make_model(name: str, data_dir: Path, setting: Setting) -> None:
    folder = data_dir / "models" / name
    if (folder / "profile.json").exists():
        return
    command = [sys.executable, "-m", "core_server.benchmarks.random_models", name, str(folder)]
    command += ["cuda" if setting.device == "auto" else setting.device]
    outcome = subprocess.run(
        [*command, *(["--small"] if setting.quick else [])],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if outcome.returncode:
        raise CannotMeasure(f"The model {name} could not be made: {outcome.stderr[-300:]}")


@contextmanager
def _stock(  # noqa: PLR0917
    setting: Setting, name: str, data_dir: Path, side: int, steps: int, keep: Path
) -> Iterator[Callable[[], float]]:
    """A function that paints once by stock diffusers and returns the seconds; 0 where none is asked for."""
    if not setting.against:
        yield lambda: 0.0
        return
    command = [sys.executable, "-m", "core_server.benchmarks.stock_images", name]
    command += [str(data_dir / "models" / name)]
    command += [
        "cuda" if setting.device == "auto" else setting.device,
        str(side),
        str(steps),
        str(keep),
    ]
    quiet = {"TRANSFORMERS_VERBOSITY": "error", "DIFFUSERS_VERBOSITY": "error"}
    quiet |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | quiet
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        talk, listen = process.stdin, process.stdout

        def call() -> float:
            talk.write("once\n")
            talk.flush()
            line = listen.readline()
            if not line:
                raise CannotMeasure("Stock diffusers failed; its own message stands above.")
            return float(line)

        try:
            yield call
        finally:
            talk.close()
