"""Weights in the host's memory that come to the device in one copy, and leave it by being forgotten there.

The host's copy stays, so nothing is ever copied back. On CUDA and ROCm its pages are locked where the machine has
memory to spare: the device then fetches from them by itself, several times as fast, while it computes.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil
import torch

_ALIGNMENT = 512
"""Bytes; what CUDA's own allocator aligns tensors to."""
_LEAST_LOCKED = 1 << 20
"""Bytes that are worth locking."""
_MEMORY_LEFT = 0.2
"""Share of the machine's memory that stays free of locked pages, which nothing can swap out."""


def _has_room(size: int) -> bool:
    host = psutil.virtual_memory()
    return bool(host.available - size > _MEMORY_LEFT * host.total)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tensor lies in its parcel. start: bytes. dtype: of the numbers there; used: of those it computes with."""

    tensor: torch.Tensor
    start: int
    bytes: int
    dtype: torch.dtype
    used: torch.dtype
    size: torch.Size
    stride: tuple[int, ...]

    def within(self, memory: torch.Tensor) -> torch.Tensor:
        """The tensor's numbers in a parcel's memory, (bytes) uint8."""
        numbers = memory[self.start : self.start + self.bytes].view(self.dtype)
        return numbers.as_strided(self.size, self.stride)


class _Lock:
    """Pages that stay where they are as long as somebody holds this."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def close(self, memory: torch.Tensor) -> None:
        """Locks the pages. Where that is refused all works as well, only slower."""
        size = memory.numel()
        if self.device.type != "cuda" or size < _LEAST_LOCKED:
            return
        storage, runtime = memory.untyped_storage(), _runtime()
        # Not torch's own locked memory, which would be rounded up to the next power of two.
        if int(runtime.cudaHostRegister(storage.data_ptr(), size, 0)) == 0:
            weakref.finalize(self, _unlock, self.device, storage).atexit = False
        else:
            _forget_error(self.device)


class Parcel:
    """Tensors that travel together. Their `data` changes place, they themselves stay who they are.

    Those that are kept narrower than they are used are widened on arrival, and stand for nothing while they are away.

    size: bytes that it takes on the device. host: (size) uint8, where the numbers are kept; None: each on its own.
    there: whether they are on the device, or on their way. ready: on CUDA the event after which they have arrived,
    until somebody waited for it.
    """

    def __init__(
        self, places: Sequence[_Place], size: int, host: torch.Tensor | None, lock: _Lock
    ) -> None:
        self._places = tuple(places)
        self.size, self._host, self._lock = size, host, lock
        self._numbers: list[torch.Tensor] = []
        self._at_home: list[torch.Tensor] = []
        self._staying: torch.Tensor | None = None
        self.there = False
        self.ready: Any = None
        for place in self._places:
            here = place.tensor.data
            home = here.to("cpu", place.dtype) if host is None else place.within(host).copy_(here)
            self._numbers.append(home)
            if place.used is not place.dtype:
                home = torch.empty((), dtype=place.used).expand(place.size)
            self._at_home.append(home)
            place.tensor.data = home

    @property
    def tensors(self) -> list[torch.Tensor]:
        """What travels in it."""
        return [it.tensor for it in self._places]

    def bring(self) -> None:
        """To the device, on the current stream. Errors: torch.OutOfMemoryError."""
        memory = self._sent() if self._staying is None else self._staying
        for place in self._places:
            place.tensor.data = place.within(memory).to(place.used)
        self.there = True

    def stay(self) -> None:
        """Its narrow numbers never leave the device from now on. Errors: torch.OutOfMemoryError."""
        self._staying = self._sent()

    def dissolve(self) -> None:
        """The tensors are ordinary ones in the host's memory."""
        self.leave()
        self._staying = None
        for place, numbers in zip(self._places, self._numbers, strict=True):
            place.tensor.data = numbers.to(place.used)

    def leave(self) -> None:
        """Its memory on the device is free for whatever is done there next."""
        for place, home in zip(self._places, self._at_home, strict=True):
            place.tensor.data = home
        self.there, self.ready = False, None

    def _sent(self) -> torch.Tensor:
        memory = torch.empty(self.size, dtype=torch.uint8, device=self._lock.device)
        if self._host is not None:
            return memory.copy_(self._host, non_blocking=True)
        for place, numbers in zip(self._places, self._numbers, strict=True):
            place.within(memory).copy_(numbers)
        return memory


def packed(
    groups: Sequence[Sequence[torch.Tensor]],
    device: torch.device,
    narrow: Mapping[int, torch.dtype] | None = None,
    *,
    roomy: Callable[[int], bool] = _has_room,
) -> list[Parcel]:
    """A parcel of each group of tensors, all in one piece of the host's memory; a tensor may be in one group only.

    narrow: by a tensor's id, what it is kept in, if not in its own type. roomy: whether the host has room for so many
    bytes; where it has not, the numbers stay where they are, in pages of the model's files if that is what they are.
    """
    plans, total = [], 0
    for tensors in groups:
        begin, places = total, []
        for tensor in tensors:
            data = tensor.data
            kept = (narrow or {}).get(id(tensor), data.dtype)
            count = data.numel() * kept.itemsize
            stride = data.stride() if _is_dense(data) else data.contiguous().stride()
            places.append(
                _Place(tensor, total - begin, count, kept, data.dtype, data.shape, tuple(stride))
            )
            total += -(-count // _ALIGNMENT) * _ALIGNMENT
        plans.append((begin, total, places))
    lock = _Lock(device)
    if not roomy(total):
        return [Parcel(places, end - begin, None, lock) for begin, end, places in plans]
    memory = torch.empty(total, dtype=torch.uint8)
    parcels = [Parcel(places, end - begin, memory[begin:end], lock) for begin, end, places in plans]
    lock.close(memory)
    return parcels


def _is_dense(tensor: torch.Tensor) -> bool:
    """Whether its strides fill its memory without holes."""
    return tensor.is_contiguous() or (
        tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    )


def _unlock(device: torch.device, storage: Any) -> None:
    torch.cuda.synchronize(device)
    _runtime().cudaHostUnregister(storage.data_ptr())


def _runtime() -> Any:
    """CUDA's own library, or HIP's under its names."""
    return torch.cuda.cudart()  # type: ignore[no-untyped-call]


def _forget_error(device: torch.device) -> None:
    """CUDA tells what was refused once more at the next kernel, whoever starts it."""
    with suppress(RuntimeError):
        torch.zeros(1, device=device)
