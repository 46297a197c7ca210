"""Graphs of whole frames: from a canvas's samples to a picture's, by two launches.

A graph of a thousand kernels takes the host half a millisecond to launch, and the device waits for it. So the encoding
is one of its own: the device is at it while the rest is being launched.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch

from core_server.pipelines.tiers.graphs import Backend, Function, Graph, GraphedNetwork, Tensors
from core_server.pipelines.tiers.signature import Flat, Unknown, flat

MAX_FRAME_GRAPHS = 4
"""Of one model: sizes, steps, tiling. Each keeps what a frame takes."""


@runtime_checkable
class Encoding(Protocol):
    """A frame's network, called with a canvas, its latents or None, and more."""

    def encoded(self, canvas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The canvas on the device, and the latents that it would make of it."""


@dataclass(frozen=True, slots=True, eq=False)
class _Halves:
    """Implements `graphs.Graph`: the canvas is the first input, and the first half's alone."""

    first: Graph
    second: Graph

    @property
    def size(self) -> int:
        """Bytes that both keep on the device."""
        return self.first.size + self.second.size

    def replay(self, inputs: Tensors) -> Tensors:
        """One launch after the other; nobody waits between them."""
        return self.second.replay([*self.first.replay(inputs[:1]), *inputs[1:]])


class FrameGraphs(GraphedNetwork):
    """Who paints live asks here first, and a graph is recorded with the first frame of a kind: the session is warm
    after it. One kind after the other, as when a border is dragged, is recorded only once it comes again."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend, MAX_FRAME_GRAPHS)
        self._is_calm = True

    def again(self, state: Hashable, args: tuple[Any, ...]) -> Any:
        """What `call` gives by its graph; None where there is none."""
        given = flat((args, {}))
        key = (state, given.key)
        graph = self._graphs.get(key)
        if graph is None:
            return None
        self._graphs.move_to_end(key)
        self._is_calm = True
        self.replays += 1
        return self._results[key](graph.replay(given.tensors))

    def may_launch(self, state: Hashable, args: tuple[Any, ...]) -> bool:
        """Whether `call` goes by a graph or records one now."""
        key = self._key(state, args)
        if key is None or key in self._refused:
            return False
        if key in self._graphs:
            self._is_calm = True
            return True
        again = key in self._seen
        super()._is_warm(key)
        calm, self._is_calm = self._is_calm, False
        return calm or again

    def _is_warm(self, key: Hashable) -> bool:
        return True

    def _recorded(self, function: Function, given: Flat) -> Graph:
        (_, clean, *_), _ = given.rebuilt(given.tensors)
        if clean is not None or not isinstance(function, Encoding):
            return super()._recorded(function, given)
        network: Any = function

        def encoding(tensors: Tensors) -> Tensors:
            return list(network.encoded(*tensors))

        def rest(tensors: Tensors) -> Tensors:
            canvas, clean, *left = tensors
            (_, _, *others), named = given.rebuilt([canvas, *left])
            return flat(network(canvas, clean, *others, **named)).tensors

        first = self._backend.record(encoding, given.tensors[:1])
        handed_on = first.replay(given.tensors[:1])
        return _Halves(first, self._backend.record(rest, [*handed_on, *given.tensors[1:]]))

    def _key(self, state: Hashable, args: tuple[Any, ...]) -> Hashable:
        try:
            return (state, flat((args, {})).key)
        except Unknown:
            return None
