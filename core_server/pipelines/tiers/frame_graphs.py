"""Graphs of whole frames: from a canvas's samples to a picture's, by one launch."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from core_server.pipelines.tiers.graphs import Backend, GraphedNetwork
from core_server.pipelines.tiers.signature import Unknown, flat

MAX_FRAME_GRAPHS = 4
"""Of one model: sizes, steps, tiling. Each keeps what a frame takes."""


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

    def _key(self, state: Hashable, args: tuple[Any, ...]) -> Hashable:
        try:
            return (state, flat((args, {})).key)
        except Unknown:
            return None
