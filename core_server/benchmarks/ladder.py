"""What each rung of the memory ladder takes and costs, and what a card of a given size ends up with.

    python -m core_server.benchmarks.ladder FOLDER [CASE ...] [--gigabytes 4 6 8 12] [--rungs] [--steps 4]

For a CUDA device. Models are those of the suite `images`, made in FOLDER where they are not there yet. The allocator is
capped, so that memory really runs out at that size; a job that runs out of it goes on further down by itself. Prints
one line of JSON for each measurement.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from core_server.benchmarks.image_cases import CASES, PROMPT, SEED
from core_server.benchmarks.random_models import write
from core_server.canvas.geometry import Extent
from core_server.pipelines import devices
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.memory import Rung
from core_server.pipelines.placement import place
from core_server.pipelines.request import Parameters, TextToImage
from core_server.pipelines.task import StepProgress

GB = 1_000_000_000


def main(argv: list[str] | None = None) -> None:
    """Every case at every size, then on every rung."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("cases", nargs="*", default=["sd15", "sdxl", "klein", "z-image"])
    parser.add_argument("--gigabytes", type=float, nargs="*", default=[4, 6, 8, 12])
    parser.add_argument(
        "--rungs", action="store_true", help="each rung, with all the memory there is"
    )
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--side", type=int, help="px; each case has its own")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args(argv)
    for name in options.cases:
        if not (options.folder / "models" / name / "profile.json").exists():
            write(name, options.folder / "models" / name, options.device)
        bench = _Ladder(name, options)
        for gigabytes in options.gigabytes:
            _say(case=name, gigabytes=gigabytes, **_tried(bench.capped, gigabytes))
        for rung in Rung if options.rungs else ():
            _say(case=name, rung=rung.name.lower(), **_tried(bench.on, rung))


class _Ladder:
    def __init__(self, name: str, options: argparse.Namespace) -> None:
        side = options.side or CASES[name].side
        parameters = Parameters(prompt=PROMPT, num_inference_steps=options.steps, seed=SEED)
        self._request = TextToImage(parameters=parameters, extent=Extent(side, side))
        self._folder, self._device, self._name = options.folder, options.device, name

    def capped(self, gigabytes: float) -> dict[str, Any]:
        """A fresh runtime on a card of that size: two pictures."""
        runtime = self._make()
        with _cap(runtime, gigabytes):
            start = time.perf_counter()
            runtime.load("")
            return {"loading": time.perf_counter() - start, **self._painted(runtime)}

    def on(self, rung: Rung) -> dict[str, Any]:
        """A fresh runtime on that rung: two pictures."""
        runtime = self._make()
        runtime.load("")
        model = runtime._model(self._name)
        place(model, rung)
        devices.give_back(model.device)
        return self._painted(runtime)

    def _make(self) -> LocalRuntime:
        return LocalRuntime(self._name, self._device, self._folder)

    def _painted(self, runtime: LocalRuntime) -> dict[str, Any]:
        notes: list[str] = []
        device = runtime._device

        def on_step(progress: StepProgress) -> None:
            if "Out of memory" in progress.stage:
                notes.append(progress.stage)

        seconds, peak = [], 0
        for _ in range(2):
            start = time.perf_counter()
            (output,) = runtime.run(self._request, {}, on_step)
            seconds.append(time.perf_counter() - start)
            peak = max(peak, devices.peak_bytes(device))
        on_cuda = device.type == "cuda"
        return {
            "ended on": output.recipe["memory"],
            "seconds": seconds,
            "peak allocated": peak / GB,
            "reserved": torch.cuda.max_memory_reserved(device) / GB if on_cuda else 0.0,
            "kernels": output.recipe["kernels"],
            "launched": output.recipe["launched"],
            "ran out": notes,
        }


@contextmanager
def _cap(runtime: LocalRuntime, gigabytes: float) -> Iterator[None]:
    device = runtime._device
    if device.type != "cuda":
        yield
        return
    total = torch.cuda.mem_get_info(device)[1]
    torch.cuda.set_per_process_memory_fraction(min(1.0, gigabytes * GB / total), device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


def _tried(measure: Callable[[Any], dict[str, Any]], argument: Any) -> dict[str, Any]:
    try:
        return measure(argument)
    except Exception as error:  # noqa: BLE001  one case that fails is a result too
        return {"failed": " ".join(str(error).split())[:300]}
    finally:
        if torch.cuda.is_available():
            devices.give_back(torch.device("cuda:0"))


def _say(**found: Any) -> None:
    print(json.dumps(found), flush=True)  # noqa: T201  the result


if __name__ == "__main__":
    main()
