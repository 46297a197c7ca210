"""Whose turn it is: owners take turns, within an owner the urgent go first and clients take turns.

Start-time fair queuing (Goyal, Vin, Cheng 1996), twice: between owners, and between the clients of an owner. A flow's
tag grows by the cost of what it was given, the smallest tag is next, and a flow that was away begins at the tag of
whoever was served last: it is next or nearly so, and saves nothing up by waiting.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from core_server.canvas.geometry import Extent
from core_server.jobs.job import Priority
from core_server.pipelines.request import Request, TextToImage, Texture

T = TypeVar("T", bound=Hashable)

_RANKS = {Priority.INTERACTIVE: 0, Priority.NORMAL: 1, Priority.BATCH: 2}
_USUAL_EXTENT = Extent(512, 512)
_USUAL_STEPS = 20


def cost_of(request: Request) -> float:
    """About how long a request takes, in pixel steps; only the ratio between requests matters."""
    extent = request.extent if isinstance(request, TextToImage | Texture) else _USUAL_EXTENT
    parameters = request.parameters
    steps = parameters.num_inference_steps or _USUAL_STEPS
    return float(max(extent.area, 1) * steps * max(parameters.count, 1))


@dataclass(order=True, frozen=True, slots=True)
class _Waiting(Generic[T]):
    """rank, then order of arrival."""

    rank: int
    number: int
    cost: float = field(compare=False)
    item: T = field(compare=False)


@dataclass(slots=True)
class _Flow:
    """The tags of some flows, and the tag of the one served last."""

    tags: dict[str, float] = field(default_factory=dict)
    now: float = 0.0

    def arrive(self, name: str) -> None:
        """It has been idle and waits again."""
        self.tags[name] = max(self.tags.get(name, 0.0), self.now)

    def next(self, names: Iterable[str]) -> str:
        """The smallest tag; among equals the first of `names`."""
        return min(names, key=lambda name: self.tags.get(name, self.now))

    def serve(self, name: str, cost: float) -> None:
        """It was its turn."""
        self.now = max(self.now, self.tags.get(name, self.now))
        self.tags[name] = self.now + cost

    def charge(self, name: str, cost: float) -> None:
        """It was served beside another one, out of its turn."""
        self.tags[name] = max(self.tags.get(name, self.now), self.now) + cost

    def forget_idle(self, busy: Iterable[str]) -> None:
        """Tags that the clock has passed say nothing any more."""
        kept = set(busy)
        self.tags = {k: tag for k, tag in self.tags.items() if k in kept or tag > self.now}

    def copy(self) -> _Flow:
        return _Flow(dict(self.tags), self.now)


class FairQueue(Generic[T]):
    """Items that wait, each with an owner, a client, a priority and a cost."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._owners: dict[str, dict[str, list[_Waiting[T]]]] = {}
        self._between_owners = _Flow()
        self._between_clients: dict[str, _Flow] = {}
        self._again: list[T] = []
        self._places: dict[T, tuple[str, str, _Waiting[T]]] = {}

    def __len__(self) -> int:
        return len(self._places) + len(self._again)

    def add(self, item: T, *, owner: str, client: str, priority: Priority, cost: float) -> None:
        """At the end of its line."""
        waiting = _Waiting(_RANKS[priority], next(self._numbers), cost, item)
        if owner not in self._owners:
            self._owners[owner] = {}
            self._between_owners.arrive(owner)
        clients = self._owners[owner]
        if client not in clients:
            clients[client] = []
            self._between_clients.setdefault(owner, _Flow()).arrive(client)
        bisect.insort(clients[client], waiting)
        self._places[item] = (owner, client, waiting)

    def add_again(self, item: T) -> None:
        """Before all others: it has had its turn and lost it through no doing of its own."""
        self._again.append(item)

    @property
    def first(self) -> T | None:
        """Whose turn it is."""
        if self._again:
            return self._again[0]
        if not self._owners:
            return None
        return _choose(self._owners, self._between_owners, self._between_clients)[2].item

    def take(self, item: T) -> None:
        """It waits no more; its owner and client have been served, which costs them the same out of their turn."""
        if item in self._again:
            self._again.remove(item)
            return
        in_turn = item == self.first
        owner, client, waiting = self._leave(item)
        clients = self._between_clients.setdefault(owner, _Flow())
        if in_turn:
            self._between_owners.serve(owner, waiting.cost)
            clients.serve(client, waiting.cost)
        else:
            self._between_owners.charge(owner, waiting.cost)
            clients.charge(client, waiting.cost)
        self._tidy()

    def remove(self, item: T) -> None:
        """It waits no more and has cost nothing."""
        if item in self._again:
            self._again.remove(item)
        else:
            self._leave(item)
            self._tidy()

    def order(self, most: int | None = None) -> list[T]:
        """All items, or the first `most`, in the order in which they would be served if none came."""
        owners = {
            owner: {client: list(waiting) for client, waiting in clients.items()}
            for owner, clients in self._owners.items()
        }
        between_owners = self._between_owners.copy()
        between_clients = {owner: flow.copy() for owner, flow in self._between_clients.items()}
        order = list(self._again)[:most]
        while owners and (most is None or len(order) < most):
            owner, client, waiting = _choose(owners, between_owners, between_clients)
            order.append(waiting.item)
            between_owners.serve(owner, waiting.cost)
            between_clients[owner].serve(client, waiting.cost)
            _drop(owners, owner, client, waiting)
        return order

    def _leave(self, item: T) -> tuple[str, str, _Waiting[T]]:
        place = self._places.pop(item)
        _drop(self._owners, *place)
        return place

    def _tidy(self) -> None:
        self._between_owners.forget_idle(self._owners)
        for owner, flow in list(self._between_clients.items()):
            flow.forget_idle(self._owners.get(owner, ()))
            if owner not in self._owners and owner not in self._between_owners.tags:
                del self._between_clients[owner]


def _choose(
    owners: dict[str, dict[str, list[_Waiting[T]]]],
    between_owners: _Flow,
    between_clients: dict[str, _Flow],
) -> tuple[str, str, _Waiting[T]]:
    owner = between_owners.next(owners)
    clients = owners[owner]
    urgent = min(waiting[0].rank for waiting in clients.values())
    candidates = [client for client, waiting in clients.items() if waiting[0].rank == urgent]
    client = between_clients[owner].next(candidates)
    return owner, client, clients[client][0]


def _drop(
    owners: dict[str, dict[str, list[_Waiting[T]]]], owner: str, client: str, waiting: _Waiting[T]
) -> None:
    line = owners[owner][client]
    del line[bisect.bisect_left(line, waiting)]
    if not line:
        del owners[owner][client]
        if not owners[owner]:
            del owners[owner]
