"""Graphs of one network's calls: recorded once for each way it is called, replayed from then on.

A graph holds addresses and constants. What it may stand for is said by its key: the call's structure, shapes and
constants (`signature`), and `state`, which the caller makes of everything else that decides what the network computes.
Where anything is unknown, the network is called as ever.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Protocol

import torch

from core_server.errors import on_one_line
from core_server.pipelines import devices
from core_server.pipelines.tiers.signature import Flat, Unknown, flat

log = logging.getLogger(__name__)

Function = Callable[..., Any]
Tensors = list[torch.Tensor]

MAX_GRAPHS = 8
"""Of one network; the one that was used longest ago goes first."""
WARM_CALLS = 2
"""Calls by Python before a graph is recorded: libraries choose their kernels in them, and one picture alone of a size
costs no graph."""
_MAX_SEEN = 64
TOLERANCE = 1e-3
"""Difference between a graph and the call that it stands for, relative; in practice there is none."""


class Graph(Protocol):
    """One recorded call."""

    size: int
    """Bytes that it keeps on the device."""

    def replay(self, inputs: Tensors) -> Tensors:
        """The results for other numbers of the same shapes; they belong to the caller."""


class Backend(Protocol):
    """Records calls."""

    def record(self, function: Callable[[Tensors], Tensors], inputs: Tensors) -> Graph:
        """Errors: RuntimeError for what cannot be recorded, torch.OutOfMemoryError."""


class GraphedNetwork:
    """The graphs of one network. One thread calls it."""

    def __init__(self, backend: Backend, most: int = MAX_GRAPHS) -> None:
        self._backend = backend
        self._most = most
        self._graphs: OrderedDict[Hashable, Graph] = OrderedDict()
        self._seen: OrderedDict[Hashable, int] = OrderedDict()
        self._refused: set[Hashable] = set()
        self._results: dict[Hashable, Callable[[Tensors], Any]] = {}
        self.replays = self.recordings = 0

    @property
    def size(self) -> int:
        """Bytes that the graphs keep on the device."""
        return sum(graph.size for graph in self._graphs.values())

    def clear(self) -> bool:
        """Gives the graphs' memory back; whether there was any."""
        had = bool(self._graphs)
        self._graphs.clear()
        self._results.clear()
        self._seen.clear()
        return had

    def call(
        self, function: Function, state: Hashable, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """function(*args, **kwargs), by a graph if there is one or can be one now."""
        try:
            given = flat((args, kwargs))
            key = (state, given.key)
            graph = self._graphs.get(key)
        except (Unknown, TypeError):
            return function(*args, **kwargs)
        if graph is not None:
            self._graphs.move_to_end(key)
            self.replays += 1
            return self._results[key](graph.replay(given.tensors))
        if key in self._refused or not self._is_warm(key):
            return function(*args, **kwargs)
        try:
            return self._record(function, key, given)
        except (Unknown, RuntimeError) as error:  # torch.OutOfMemoryError among them
            log.warning("No graph of this network: %s", on_one_line(error))
            self._refused.add(key)
            if devices.is_out_of_memory(error):
                self.clear()
        return function(*args, **kwargs)

    def _is_warm(self, key: Hashable) -> bool:
        self._seen[key] = self._seen.get(key, 0) + 1
        self._seen.move_to_end(key)
        while len(self._seen) > _MAX_SEEN:
            self._seen.popitem(last=False)
        return self._seen[key] > WARM_CALLS

    def _record(self, function: Function, key: Hashable, given: Flat) -> Any:
        args, kwargs = given.rebuilt(given.tensors)
        expected = function(*args, **kwargs)
        results = flat(expected)
        while len(self._graphs) >= self._most:
            oldest, _ = self._graphs.popitem(last=False)
            del self._results[oldest]
        graph = self._recorded(function, given)
        for found, wanted in zip(graph.replay(given.tensors), results.tensors, strict=True):
            if not is_close(found, wanted, TOLERANCE):
                raise RuntimeError("the recorded call gives other numbers than the call itself")
        self._graphs[key], self._results[key] = graph, results.rebuilt
        self.recordings += 1
        return expected

    def _recorded(self, function: Function, given: Flat) -> Graph:
        """The graph of a call. Errors: as `Backend.record`."""

        def run(tensors: Tensors) -> Tensors:
            args, kwargs = given.rebuilt(tensors)
            return flat(function(*args, **kwargs)).tensors

        return self._backend.record(run, given.tensors)


def is_close(found: torch.Tensor, wanted: torch.Tensor, tolerance: float) -> bool:
    """Whether the difference's norm is at most `tolerance` of the norm; never for numbers that are not finite."""
    difference = torch.linalg.vector_norm(found.float() - wanted.float())
    return bool(difference <= tolerance * torch.linalg.vector_norm(wanted.float()))
