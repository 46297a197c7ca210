"""A graph backend for the CPU that forgets as much as a CUDA graph does: it keeps the operations and the tensors of a
call, by reference, and nothing of the Python that led to them. A graph served for another state gives wrong numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

Tensors = list[torch.Tensor]


class _Tape(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, result))
        return result


class Recording:
    size = 1000

    def __init__(self, tape: _Tape, inputs: Tensors, outputs: Tensors) -> None:
        self._tape, self._inputs, self._outputs = tape, inputs, outputs

    def replay(self, inputs: Tensors) -> Tensors:
        known = {id(own): it.clone() for own, it in zip(self._inputs, inputs, strict=True)}

        def now(tensor: torch.Tensor) -> torch.Tensor:
            return known.get(id(tensor), tensor)

        with torch.no_grad():
            for func, given, named, result in self._tape.operations:
                args, kwargs = tree_map_only(torch.Tensor, now, (given, named))
                found = tree_flatten(func(*args, **kwargs))[0]
                for was, value in zip(tree_flatten(result)[0], found, strict=True):
                    if isinstance(was, torch.Tensor):
                        known[id(was)] = value
            return [now(it).clone() for it in self._outputs]


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
        own = [tensor.clone() for tensor in inputs]
        with _Tape() as tape:
            outputs = [it + self.off if self.off else it for it in function(own)]
        return Recording(tape, own, outputs)
