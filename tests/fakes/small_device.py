"""The real runtime on a CPU that behaves as a device with a memory of its own: it runs out where the prompt says so.

The prompt begins with the first rung that has room for the picture, in capitals: "GROUP_OFFLOAD: moss". "NOWHERE: moss"
finds room on none. Every other prompt has room everywhere. While the file HOLD is in the data folder nothing is
painted.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from core_server.canvas.pixels import Pixels
from core_server.config import Tiers
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.memory import Rung
from core_server.pipelines.request import Request
from core_server.pipelines.task import StepCallback, StepProgress, TaskOutput

HOLD = "hold"


def create(model: str, _device: str, data_dir: Path, _tiers: Tiers | None = None) -> SmallDevice:
    """Same signature as every runtime factory."""
    return SmallDevice(model, "cpu", data_dir, rungs=tuple(Rung))


class SmallDevice(LocalRuntime):
    """What its allocator says is what CUDA's says."""

    def run(
        self, request: Request, images: Mapping[str, Pixels], on_step: StepCallback
    ) -> Sequence[TaskOutput]:
        word = request.parameters.prompt.partition(":")[0]
        least = Rung.__members__.get(word, Rung.RESIDENT)

        def step(progress: StepProgress) -> None:
            while (self._data_dir / HOLD).exists():
                time.sleep(0.02)
            if progress.stage == "Painting" and progress.step == 1:
                (model,) = list(self._keeper.loaded.values())[-1:]
                assert model.rung is not None
                if word == "NOWHERE" or model.rung < least:
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            on_step(progress)

        return super().run(request, images, step)
