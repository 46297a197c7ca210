"""Programs without a compiler: each is the graph that a compiler would be given, operation by operation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch._subclasses import FakeTensorMode

from core_server.pipelines.tiers.compiled_builder import Program
from core_server.pipelines.tiers.compiled_graph import traced
from core_server.pipelines.tiers.compiled_orders import Order, read


class EagerPrograms:
    """off: by how much every number that a program gives is wrong, at most. failure: what it raises instead."""

    compiled_by = "a test"

    def __init__(self, off: float = 0.0, failure: Exception | None = None) -> None:
        self.off = off
        self.failure = failure
        self.asked: list[str] = []
        self.refused: set[str] = set()
        self.calls = 0
        self._waiting: list[Order] = []
        self._ready: dict[str, Callable[[list[torch.Tensor]], Any]] = {}

    def finish(self) -> int:
        """What was asked for is ready now; how many programs these are."""
        for order in self._waiting:
            self._ready[order.digest] = self._program(order)
        count = len(self._waiting)
        self._waiting.clear()
        return count

    def program(self, digest: str) -> Callable[[list[torch.Tensor]], Any] | None:
        return self._ready.get(digest)

    def is_settled(self, digest: str) -> bool:
        return digest in self._ready or digest in self.refused

    def is_asked(self, digest: str) -> bool:
        return digest in self.asked or digest in self.refused

    def is_refused(self, digest: str) -> bool:
        return digest in self.refused

    def is_wanted(self, digest: str, *, often: bool) -> bool:
        return often and not self.is_asked(digest)

    def ask(self, orders: Sequence[Order]) -> None:
        self.asked += [order.digest for order in orders]
        self._waiting += orders

    def refuse(self, digest: str) -> None:
        self._ready.pop(digest, None)
        self.refused.add(digest)

    def stop(self) -> None:
        self._waiting.clear()

    @contextmanager
    def painting(self) -> Iterator[None]:
        yield

    def _program(self, order: Order) -> Callable[[list[torch.Tensor]], Any]:
        with torch.no_grad(), FakeTensorMode():
            graph, _, results = traced(*read(order.payload, torch.device("cpu")))

        def run(*tensors: torch.Tensor) -> Sequence[torch.Tensor]:
            self.calls += 1
            if self.failure is not None:
                raise self.failure
            found: Sequence[torch.Tensor] = graph(*tensors)
            return [_bent(it, self.off) for it in found] if self.off else found

        return Program(run, results)


def _bent(x: torch.Tensor, off: float) -> torch.Tensor:
    # A constant would be lost in the next normalisation.
    return x + off * torch.linspace(-1, 1, x.shape[-1]) ** 3
