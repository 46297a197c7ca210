"""Where pictures are made: choosing the device, its memory, its name. CUDA and ROCm (both "cuda"), XPU, MPS, CPU."""

from __future__ import annotations

import ctypes
import gc
import sys
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from core_server import heap
from core_server.errors import ModelLoadFailed

LEAST_CACHE, MOST_CACHE, PROCESSOR_CACHE = 16 << 20, 64 << 20, 32 << 20
"""Bytes of `cache_bytes`: a picture of a megapixel in half precision takes 6 MiB, in single precision 12."""
_NONE = {"all": {"current": 0}}
"""What a counter says before the device is used."""
_ALLOWED = "auto, cpu, cuda, cuda:N (NVIDIA, or AMD with ROCm), xpu, xpu:N or mps"


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of a device. free: what could still be taken, including what our own allocator keeps but does not use."""

    free: int
    total: int


def choose_device(wanted: str) -> torch.device:
    """ "auto" takes CUDA or ROCm, then Intel's and Apple's GPUs, then the CPU.

    Errors: ModelLoadFailed for a device that is not there.
    """
    name = wanted
    if wanted == "auto":
        name = next((kind for kind in ("cuda", "xpu", "mps") if _is_there(kind)), "cpu")
    try:
        device = torch.device(f"{name}:0" if name in ("cuda", "xpu") else name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelLoadFailed(f"There is no device {wanted!r} here; choose {_ALLOWED}.") from error
    return device


def dtype_for(device: torch.device, half: str = "float16") -> torch.dtype:
    """float32 on the CPU, which has no fast half precision; elsewhere the half precision the weights were made for.

    bfloat16 needs a GPU that has it: those without would take hours, and float16 gives such models no picture.
    """
    if device.type == "cpu":
        return torch.float32
    wanted: torch.dtype = getattr(torch, half)
    if wanted is torch.bfloat16 and device.type == "cuda":
        return wanted if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return wanted


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself (AVX-512 BF16, AMX); emulated it is slower than float32."""
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    found = (getattr(torch.cpu, name, None) for name in probes)
    return any(probe is not None and bool(probe()) for probe in found)


def memory_of(device: torch.device) -> Memory:
    """What the device has now. A limit set for this process (torch.cuda.set_per_process_memory_fraction) counts."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        # As one question: PyTorch turns all of its counters into a sorted list for each that is asked for by name.
        counted = torch.cuda.memory_stats_as_nested_dict(device)
        reserved, allocated = (
            int(counted.get(name, _NONE)["all"]["current"])
            for name in ("reserved_bytes", "allocated_bytes")
        )
        limit = int(total * torch.cuda.get_per_process_memory_fraction(device))
        return Memory(min(free + reserved - allocated, limit - allocated), min(total, limit))
    if device.type == "xpu":
        free, total = torch.xpu.mem_get_info(device)
        kept = torch.xpu.memory_reserved(device) - torch.xpu.memory_allocated(device)
        return Memory(int(free + kept), int(total))
    if device.type == "mps":
        total = int(torch.mps.recommended_max_memory())
        return Memory(total - int(torch.mps.driver_allocated_memory()), total)
    memory = psutil.virtual_memory()
    return Memory(int(memory.available), int(memory.total))


def cache_bytes(device: torch.device) -> int:
    """Bytes that a cache of one loaded model may take: a GPU's memory / 256, at least 16 and at most 64 MiB; 32 MiB on
    a processor, whose memory the user's other programs share."""
    if device.type == "cpu":
        return PROCESSOR_CACHE
    return min(max(memory_of(device).total // 256, LEAST_CACHE), MOST_CACHE)


def peak_bytes(device: torch.device) -> int:
    """Most bytes that tensors took at once since `forget_peak`; 0 where the device does not count."""
    module = _counter(device)
    return 0 if module is None else int(module.max_memory_allocated(device))


def forget_peak(device: torch.device) -> None:
    """Starts counting the peak anew."""
    module = _counter(device)
    if module is not None:
        module.reset_peak_memory_stats(device)


def give_back(device: torch.device) -> None:
    """Returns what nothing refers to any more to the other programs of the machine."""
    heap.unsettle()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "xpu":
        torch.xpu.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    if _trim is not None:
        _trim(0)


def tidy(device: torch.device) -> None:
    """After a job on a processor: its working memory, which glibc would keep, goes back to the other programs."""
    if device.type == "cpu" and _trim is not None:
        _trim(0)


def title_of(device: torch.device) -> str:
    """The device for people, such as "cuda:0 (NVIDIA H100)"."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type == "xpu":
        return f"{device} ({torch.xpu.get_device_name(device)})"
    return str(device)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed. Only CUDA's allocator has an exception type of its own; cuBLAS and cuDNN, which
    take memory past it, have words of theirs."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "can't allocate memory" in text or "out of memory" in text or "_ALLOC_FAILED" in text
    )


def _trimmer() -> Any:
    """glibc keeps what was freed between things that stay, a third of its heap after some models have come and gone."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


_trim = _trimmer()


def _is_there(kind: str) -> bool:
    if kind == "mps":
        return bool(torch.backends.mps.is_available())
    module = getattr(torch, kind, None)
    return module is not None and bool(module.is_available())


def _counter(device: torch.device) -> Any:
    return {"cuda": torch.cuda, "xpu": getattr(torch, "xpu", None)}.get(device.type)
