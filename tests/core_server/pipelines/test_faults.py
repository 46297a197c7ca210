"""Devices that fail. A device that this computer has not got stands for one that answers no more."""

from __future__ import annotations

import pytest
import torch

from core_server.errors import DeviceFault, OutOfMemory
from core_server.pipelines.faults import faults_told, still_computes

ABSENT = torch.device("cuda:7")
ASSERTION = "CUDA error: device-side assert triggered\nCUDA kernel errors might be reported later"


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError(ASSERTION),
        RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED when calling cublasGemmEx"),
        ValueError("some library's own words for it"),
        OutOfMemory("The device ran out of memory."),
    ],
    ids=lambda it: type(it).__name__,
)
def test_whatever_a_broken_device_raises_is_its_fault(error: Exception) -> None:
    with pytest.raises(DeviceFault) as caught, faults_told(ABSENT):
        raise error
    first = str(error).splitlines()[0]
    assert f"(cuda:7: {first})" in caught.value.message
    assert "might be reported" not in caught.value.message
    assert caught.value.metadata == {"device": "cuda:7"}
    assert caught.value.__cause__ is error


def test_an_error_on_a_sound_device_stays_what_it_is() -> None:
    cpu = torch.device("cpu")
    with pytest.raises(torch.AcceleratorError), faults_told(cpu):
        raise torch.AcceleratorError(ASSERTION)
    assert still_computes(cpu)
    assert not still_computes(ABSENT)
