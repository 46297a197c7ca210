"""A graph backend for the CPU that forgets as much as a CUDA graph does: it keeps the operations and the tensors of a
call, by reference, and nothing of the Python that led to them. A graph served for another state gives wrong numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.fx.experimental.proxy_tensor import make_fx

Tensors = list[torch.Tensor]


class Recording:
    size = 1000

    def __init__(self, program: Any) -> None:
        self._program = program

    def replay(self, inputs: Tensors) -> Tensors:
        with torch.no_grad():
            return [tensor.clone() for tensor in self._program(inputs)]


class Recorder:
    """failure: what `record` raises instead. off: added to every replayed number."""

    def __init__(self, failure: Exception | None = None, off: float = 0.0) -> None:
        self.failure = failure
        self.off = off
        self.recorded = 0

    def record(self, function: Callable[[Tensors], Tensors], inputs: Tensors) -> Recording:
        if self.failure is not None:
            raise self.failure
        self.recorded += 1
        traced = make_fx(lambda tensors: [it + self.off for it in function(tensors)])
        own = [tensor.clone() for tensor in inputs]
        return Recording(traced(own))
