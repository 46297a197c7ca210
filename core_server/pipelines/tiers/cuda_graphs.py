"""CUDA graphs as a backend of `graphs`. Source: PyTorch's "CUDA semantics", section CUDA graphs."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from core_server.pipelines.tiers.graphs import Tensors


@dataclass(slots=True, eq=False, weakref_slot=True)
class _CudaGraph:
    graph: torch.cuda.CUDAGraph
    inputs: Tensors
    outputs: Tensors
    size: int

    def replay(self, inputs: Tensors) -> Tensors:
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given, non_blocking=True)
        self.graph.replay()
        # The next replay, of any graph of the pool, writes over the outputs.
        return [output.clone() for output in self.outputs]


class CudaGraphs:
    """Records on one device. All graphs share one pool of memory: they never run at the same time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool: Any = None
        self._alive: weakref.WeakSet[_CudaGraph] = weakref.WeakSet()

    def record(self, function: Callable[[Tensors], Tensors], inputs: Tensors) -> _CudaGraph:
        """Errors: RuntimeError where the call waits for the device or cannot be recorded; torch.OutOfMemoryError."""
        before = torch.cuda.memory_reserved(self._device)
        own = [tensor.to(self._device, copy=True) for tensor in inputs]
        self._rehearse(function, own)
        if not self._alive:  # a pool goes with the last of its graphs
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        collects = gc.isenabled()
        gc.disable()  # what Python frees while the device records may be a CUDA call that recording forbids
        try:
            with torch.cuda.stream(self._stream):
                graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
                try:
                    outputs = function(own)
                finally:
                    graph.capture_end()
        finally:
            if collects:
                gc.enable()
        torch.cuda.current_stream(self._device).wait_stream(self._stream)
        size = max(0, torch.cuda.memory_reserved(self._device) - before)
        made = _CudaGraph(graph, own, outputs, size)
        self._alive.add(made)
        return made

    def _rehearse(self, function: Callable[[Tensors], Tensors], own: Tensors) -> None:
        """Calls once on the stream that records; an operation that waits for the device fails here, without harm."""
        torch.cuda.synchronize(self._device)
        mode = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            with torch.cuda.stream(self._stream):
                function(own)
        finally:
            torch.cuda.set_sync_debug_mode(mode)
        torch.cuda.synchronize(self._device)
