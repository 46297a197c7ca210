"""When the device itself fails: an illegal access, a failed assertion, a card that fell off the bus.

CUDA reports such an error at whatever call comes next, under many names (`torch.AcceleratorError`, a RuntimeError of
cuBLAS, cuDNN, HIP or Metal), and from then on fails every call of the process until it ends
(https://docs.nvidia.com/cuda/cuda-runtime-api, "sticky" errors). So nobody's text is read: the device is asked to add.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from core_server.errors import DeviceFault
from core_server.pipelines.devices import is_out_of_memory


@contextmanager
def faults_told(device: torch.device) -> Iterator[None]:
    """Errors: DeviceFault in the place of whatever was raised, if the device computes no more."""
    try:
        yield
    except Exception as error:
        if still_computes(device):
            raise
        what = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise DeviceFault(
            f"The graphics device reported an error ({device}: {what}) and had to be started anew. If that happens "
            "again, close other programs that use it, update its driver, or choose another model; `scumble doctor` "
            "tells more.",
            device=str(device),
        ) from error


def still_computes(device: torch.device) -> bool:
    """Whether the device does a sum and gives its result; one that has merely no memory left counts as sound."""
    if device.type == "cpu":
        return True
    try:
        return float((torch.ones(1, device=device) + 1).item()) == 2.0
    except (RuntimeError, AssertionError) as error:
        return is_out_of_memory(error)
