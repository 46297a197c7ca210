"""The real runtime on a real device, which it breaks on demand: the prompt "fault" reads far outside a tensor there.
What follows is the device's own doing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from core_server.canvas.pixels import Pixels
from core_server.config import Tiers
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.model import LoadedModel
from core_server.pipelines.request import Request
from core_server.pipelines.task import StepCallback, TaskOutput


class FaultyRuntime(LocalRuntime):
    """Breaks its device in the middle of a task, as a bad kernel would."""

    _breaks = False

    def run(
        self, request: Request, images: Mapping[str, Pixels], on_step: StepCallback
    ) -> Sequence[TaskOutput]:
        self._breaks = request.parameters.prompt == "fault"
        return super().run(request, images, on_step)

    def _model(self, name: str) -> LoadedModel:
        if self._breaks:
            _assert_on(self._device)
        return super()._model(name)


def create(model: str, device: str, data_dir: Path, tiers: Tiers) -> FaultyRuntime:
    """Same signature as every runtime factory."""
    return FaultyRuntime(model, device, data_dir, tiers=tiers)


def _assert_on(device: torch.device) -> None:
    """A failed assertion in a kernel; it is told of by whatever call waits for the device next."""
    far = torch.tensor([1 << 40], device=device)
    torch.zeros(4, device=device)[far].sum().item()
