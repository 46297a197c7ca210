"""One model of full size on cards of several sizes and on every rung of the memory ladder; see `ladder`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from core_server.benchmarks.random_models import write
from core_server.canvas.geometry import Extent
from core_server.errors import on_one_line
from core_server.pipelines import devices
from core_server.pipelines.catalogue import weight_files
from core_server.pipelines.hashes import HASHES, KeptHashes, hashing_by_name
from core_server.pipelines.keeper import Budget
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.memory import Rung
from core_server.pipelines.placement import must_reload, place
from core_server.pipelines.request import Parameters, TextToImage
from core_server.pipelines.task import StepProgress, TaskOutput

GB = 1_000_000_000
MOST_PICTURES = 5
"""Painted until one went through without memory running out, the first apart."""


class LadderCase:
    """Measurements return what they found by name: seconds, gigabytes (1e9 bytes), rungs in lower case."""

    rungs = tuple(Rung)

    def __init__(  # noqa: PLR0917
        self,
        name: str,
        folder: Path,
        device: str,
        side: int,
        steps: int,
        prompt: str,
        seed: int,
        *,
        small: bool = False,
    ) -> None:
        self._requests = [
            TextToImage(
                parameters=Parameters(prompt=words, num_inference_steps=steps, seed=seed),
                extent=Extent(side, side),
            )
            for words in (prompt, f"{prompt}, at dusk")
        ]
        self._name, self._folder, self._small = name, folder, small
        self._device = devices.choose_device(device)
        self._runtime: LocalRuntime | None = None

    def make(self) -> dict[str, Any]:
        """Writes the model with random weights where it is not there yet; its hash is known, as after an
        installation."""
        target = self._folder / "models" / self._name
        if not (target / "profile.json").exists():
            write(self._name, target, str(self._device), small=self._small)
        files = {str(file): file for file in weight_files(target)}
        hashing_by_name(files, KeptHashes(self._folder / HASHES).sha256_of).result()
        size = sum(file.stat().st_size for file in target.rglob("*.safetensors"))
        return {"weights": size / GB, "device": devices.title_of(self._device)}

    def capped(self, gigabytes: float) -> dict[str, Any]:
        """A fresh runtime on a card of that size."""
        bytes_free = int(gigabytes * GB)
        # A CPU's allocator knows no limit: there the size is what is planned for.
        on_cpu = self._device.type == "cpu"
        budget = _endless(bytes_free) if on_cpu else devices.memory_of
        return self._fresh(gigabytes, budget)

    def misjudged(self, gigabytes: float) -> dict[str, Any]:
        """The same, planned for as if it were endless: memory runs out, and the job goes on."""
        return self._fresh(gigabytes, _endless(1000 * GB))

    def on(self, rung: Rung) -> dict[str, Any]:
        """On that rung, with all the memory there is. Models are read again only where a rung cannot be left."""
        runtime = self._runtime
        standing = None if runtime is None else next(iter(runtime._keeper.loaded.values()), None)
        if runtime is None or standing is None or must_reload(standing.rung, rung):
            self._runtime = None
            runtime = self._make(_endless(1000 * GB))
            runtime.load("")
        model = runtime._model(self._name)
        if model.rung is not rung:
            place(model, rung)
        devices.give_back(self._device)
        found = self._painted(runtime)
        self._runtime = runtime
        return found

    def tried(self, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What was found, or why not: one measurement that fails is a result too."""
        try:
            return measure()
        except Exception as error:  # noqa: BLE001
            self._runtime = None
            return {"failed": on_one_line(error)}
        finally:
            devices.give_back(self._device)

    def _fresh(self, gigabytes: float, budget: Budget) -> dict[str, Any]:
        self._runtime = None
        devices.give_back(self._device)
        runtime = self._make(budget)
        with self._cap(gigabytes):
            start = time.perf_counter()
            runtime.load("")
            return {"loading": time.perf_counter() - start, **self._painted(runtime)}

    def _make(self, budget: Budget) -> LocalRuntime:
        folder, device = self._folder, str(self._device)
        rungs = tuple(Rung) if self._device.type == "cpu" else None
        return LocalRuntime(self._name, device, folder, budget=budget, rungs=rungs)

    def _painted(self, runtime: LocalRuntime) -> dict[str, Any]:
        told: list[str] = []

        def on_step(progress: StepProgress) -> None:
            if "Out of memory" in progress.stage:
                told.append(progress.stage)

        def timed(request: TextToImage) -> tuple[float, TaskOutput]:
            start = time.perf_counter()
            (output,) = runtime.run(request, {}, on_step)
            return time.perf_counter() - start, output

        same, other = self._requests
        first, output = timed(same)
        for _ in range(MOST_PICTURES):
            before = len(told)
            # The prompt is encoded, and on a GPU kernels are chosen.
            second, output = timed(same)
            peak = devices.peak_bytes(self._device)
            if len(told) == before:
                break
        third, output = timed(other)
        peak = max(peak, devices.peak_bytes(self._device))
        (model,) = runtime._keeper.loaded.values()
        sizes = runtime._keeper._sizes[self._name]
        return {
            "ended on": output.recipe["memory"],
            "layers that stay": model.kept / sizes.denoiser,
            "seconds": [first, second, third],
            "peak": peak / GB,
            "kernels": output.recipe["kernels"],
            "launched": output.recipe["launched"],
            "ran out": told,
        }

    @contextmanager
    def _cap(self, gigabytes: float) -> Iterator[None]:
        device = self._device
        if device.type != "cuda":
            yield
            return
        total = torch.cuda.mem_get_info(device)[1]
        torch.cuda.set_per_process_memory_fraction(min(1.0, gigabytes * GB / total), device)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, device)


def _endless(size: int) -> Budget:
    return lambda _device: devices.Memory(size, size)
