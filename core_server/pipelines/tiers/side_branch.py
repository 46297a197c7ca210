"""Work of a network beside its other work: on a stream of its own, which a graph records as a branch of its own.

Source: PyTorch's "CUDA semantics", sections CUDA streams and CUDA graphs: a stream that waits for a recording one is
recorded with it, and must be waited for before the recording ends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch

from core_server.errors import on_one_line
from core_server.pipelines.tiers.cuda_graphs import CudaGraphs
from core_server.pipelines.tiers.graphs import Tensors

log = logging.getLogger(__name__)

Work = Callable[[], list[torch.Tensor]]

_FIRST = -1
"""Streams of this priority are nobody else's: PyTorch hands out the few that there are of each again and again."""


class Branch(Protocol):
    """One piece of work beside the other at a time. One thread uses it."""

    def begin(self, work: Work) -> list[torch.Tensor]:
        """What the work gives, which nobody may read before `join`. It may read what was made before."""

    def join(self) -> None:
        """What `begin` gave may be read from here on. Without a `begin` before, nothing happens."""


class Inline:
    """No branch: the work is done where it is begun."""

    def begin(self, work: Work) -> list[torch.Tensor]:
        """As the protocol says."""
        return work()

    def join(self) -> None:
        """As the protocol says."""


class CudaBranch:
    """By a stream of its own on one device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device, priority=_FIRST)  # type: ignore[no-untyped-call]
        self._is_open = False

    def begin(self, work: Work) -> list[torch.Tensor]:
        """As the protocol says."""
        self.join()  # where a call failed in between, its memory may be written to still
        here = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(here)
        self._is_open = True
        with torch.cuda.stream(self._stream):
            found = work()
        for tensor in found:
            tensor.record_stream(here)  # or its memory could be given away while it is read here
        return found

    def join(self) -> None:
        """As the protocol says."""
        if self._is_open:
            self._is_open = False
            torch.cuda.current_stream(self._device).wait_stream(self._stream)


_INLINE = Inline()
_branches: dict[torch.device, Branch] = {}


def branch_of(device: torch.device) -> Branch:
    """The branch of a device on which one was tried; elsewhere none."""
    return _branches.get(device, _INLINE)


def try_branch(device: torch.device) -> None:
    """Gives a device its branch, if it computes there what is computed without, called and recorded.

    Not to be called while something is recorded.
    """
    if device.type != "cuda" or torch.version.hip is not None:
        return
    device = torch.device(
        "cuda", torch.cuda.current_device() if device.index is None else device.index
    )
    if device in _branches:
        return
    try:
        with torch.cuda.device(device):
            branch = CudaBranch(device)
            agrees = _agrees(branch, device)
    except Exception as error:  # noqa: BLE001  whatever a driver raises; pictures are painted without
        log.warning("No branch beside others here: %s", on_one_line(error))
        return
    if agrees:
        _branches[device] = branch


@torch.no_grad()
def _agrees(branch: Branch, device: torch.device) -> bool:
    given = torch.arange(1, 2**20 + 1, device=device, dtype=torch.float32)

    def both(by: Branch, tensors: Tensors) -> Tensors:
        start = tensors[0] * 2.0
        (aside,) = by.begin(lambda: [start.sqrt() + 1.0])
        here = start.sin()
        by.join()
        return [aside + here]

    (expected,) = both(_INLINE, [given])
    (called,) = both(branch, [given])
    (changed,) = both(_INLINE, [3.0 * given])
    graph = CudaGraphs(device).record(partial(both, branch), [given])
    (replayed,) = graph.replay([3.0 * given])
    return torch.equal(called, expected) and torch.equal(replayed, changed)
