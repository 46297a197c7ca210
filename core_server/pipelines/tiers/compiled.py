"""The compiled tier of one model: its blocks are computed by programs as soon as there are any.

A program is found for each call by what the block is at that moment and by the call's shapes and constants
(`compiled_orders`): where anything is new, the block is called as ever. LoRAs are arguments (`compiled_lora`).
The first call of the denoiser with a program that was never used before goes both ways; programs that give other
numbers are never used again.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from core_server.errors import on_one_line
from core_server.pipelines.overrides import Overrides
from core_server.pipelines.tiers.compiled_orders import (
    Kind,
    NotCompilable,
    Order,
    blocks_of,
    digest_of,
    is_same,
    kind_of,
    order_for,
    snapshot,
)
from core_server.pipelines.tiers.graphs import is_close
from core_server.pipelines.tiers.signature import Flat, Unknown, flat

log = logging.getLogger(__name__)

COMPILED = "compiled"
TOLERANCE, BFLOAT16_TOLERANCE = 0.02, 0.04
"""Difference of the denoiser's output by programs from that without, relative. Programs round less often than single
operations do; measured in bfloat16: 0.005 with FLUX.2 klein's shapes, 0.014 with Z-Image's."""
_MOST_WAYS = 32
_WORTH = 2
"""Pictures that are called in a way before it is compiled: one picture alone of a size costs nobody a compiler."""

Call = Callable[..., Any]


class Programs(Protocol):
    """Where programs come from: `compiled_builder.BlockCompiler`. Digests: as in `compiled_orders`."""

    compiled_by: str
    """Whatever decides a program beside its order: versions, the device."""

    def program(self, digest: str) -> Callable[[list[torch.Tensor]], Any] | None:
        """A program that is ready. It takes the block's weights, then its arguments' tensors."""

    def is_settled(self, digest: str) -> bool:
        """Whether nothing more will come of an order."""

    def is_asked(self, digest: str) -> bool:
        """Whether somebody asked for it, or it was refused."""

    def is_refused(self, digest: str) -> bool:
        """Whether there will never be such a program."""

    def is_wanted(self, digest: str, *, often: bool) -> bool:
        """Whether `ask` would do something. often: whether it is worth compiling, not only loading."""

    def ask(self, orders: Sequence[Order]) -> None:
        """Returns at once. What is asked for together comes together."""

    def refuse(self, digest: str) -> None:
        """Never again in this process."""

    def painting(self) -> AbstractContextManager[None]:
        """Within the context nothing new is loaded."""

    def stop(self) -> None:
        """Ends what is under way, for its memory; it may be asked for again."""


class CompiledBlocks:
    """The blocks of one denoiser. version: another one for other programs."""

    def __init__(self, denoiser: nn.Module, compiler: Programs) -> None:
        self.version = 0
        self._compiler = compiler
        self._blocks = [_Block(block, self) for block in blocks_of(denoiser)]
        self._overrides = Overrides()
        for block in self._blocks:
            self._overrides.add(block.module, "forward", block)
        self._active: dict[str, Callable[[list[torch.Tensor]], Any]] = {}
        self._proven: set[str] = set()
        self._awaited: set[str] = set()
        self._ways: OrderedDict[Hashable, _Way] = OrderedDict()
        self._way = _Way()
        self._used: set[str] = set()
        self._digests: dict[tuple[str, Hashable], str] = {}
        self._stock = False
        self._acting: set[Hashable] = set()

    @contextmanager
    def painting(self, way: Hashable) -> Iterator[None]:
        """Within the context the blocks are computed by the programs that are active; new ones are asked for after.

        way: whatever the blocks' shapes come from; pictures of a way are counted.
        """
        self._way = self._ways.setdefault(way, _Way())
        self._ways.move_to_end(way)
        while len(self._ways) > _MOST_WAYS:
            self._ways.popitem(last=False)
        for block in self._blocks:
            block.forget()
        with self._compiler.painting():
            self._overrides.put_on()
            try:
                yield
            finally:
                self._overrides.take_off()
        self._ask()

    def adopt(self) -> bool:
        """Between pictures: makes programs active that are ready; whether there were any, so that no graph stands."""
        self._awaited = set(filter(self._compiler.is_asked, self._awaited))
        if not self._awaited or not all(map(self._compiler.is_settled, self._awaited)):
            return False
        found = {digest: self._compiler.program(digest) for digest in self._awaited}
        self._awaited.clear()
        fresh = {digest: program for digest, program in found.items() if program is not None}
        self._active |= fresh
        if fresh:
            self._acting.clear()
            self.version += 1
        return bool(fresh)

    @property
    def is_proven(self) -> bool:
        """Whether every program that may act was compared with the blocks themselves."""
        return self._active.keys() <= self._proven

    def acts(self, way: Hashable) -> bool:
        """Whether programs had a part in the last call of the denoiser in this `way` that Python made."""
        return way in self._acting

    def proving(self, forward: Call, way: Hashable) -> Call:
        """`forward`, which calls the blocks; programs that are new to it are proven."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self._used.clear()
            try:
                found = forward(*args, **kwargs)
            except Exception as error:
                # Where it is not the programs, the stock call finds it out as well.
                if not self._used:
                    raise
                self._refuse(self._used, on_one_line(error, 200))
                return self._stock_call(forward, args, kwargs)
            fresh = self._used - self._proven
            (self._acting.add if self._used else self._acting.discard)(way)
            if not fresh:
                return found
            wanted = self._stock_call(forward, args, kwargs)
            if agree(found, wanted):
                self._proven |= fresh
                return found
            self._acting.discard(way)
            self._refuse(fresh, "they give other numbers")
            return wanted

        return call

    def _stock_call(self, forward: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._stock = True
        try:
            return forward(*args, **kwargs)
        finally:
            self._stock = False

    def _refuse(self, digests: set[str], why: str) -> None:
        log.warning("%d compiled blocks are left out: %s", len(digests), why)
        self.version += 1
        for digest in list(digests):
            self._active.pop(digest, None)
            self._compiler.refuse(digest)

    def called(self, block: _Block, stock: Call, args: Any, kwargs: Any) -> Any:
        """One block's call."""
        if self._stock or torch.is_grad_enabled() or (kind := block.kind()) is None:
            return stock(*args, **kwargs)
        try:
            given = flat((args, kwargs))
        except Unknown:
            return stock(*args, **kwargs)
        digest = self._digest(kind, given)
        program = self._active.get(digest)
        if program is None:
            self._meet(digest, kind, given)
            return stock(*args, **kwargs)
        self._used.add(digest)
        return program([*kind.tensors, *given.tensors])

    def _digest(self, kind: Kind, given: Flat) -> str:
        key = (kind.fingerprint, given.key)
        found = self._digests.get(key)
        if found is None:
            found = self._digests[key] = digest_of(kind, given, self._compiler.compiled_by)
        return found

    def _meet(self, digest: str, kind: Kind, given: Flat) -> None:
        if self._compiler.is_asked(digest):  # perhaps by another model of the same kind
            if not self._compiler.is_refused(digest):
                self._awaited.add(digest)
        elif digest not in self._way.orders:
            try:
                self._way.orders[digest] = order_for(digest, kind, given)
            except NotCompilable as error:
                log.info("A block is not compiled: %s", error)
                self._compiler.refuse(digest)

    def _ask(self) -> None:
        # By the way, not by the calls: where a graph stands for the denoiser no block is called.
        self._way.pictures += 1
        often = self._way.pictures >= _WORTH
        wanted = self._way.orders
        orders = [it for it in wanted.values() if self._compiler.is_wanted(it.digest, often=often)]
        self._awaited |= {order.digest for order in orders}
        self._compiler.ask(orders)


@dataclass(slots=True)
class _Way:
    """What was met in pictures of one kind and has no program yet."""

    pictures: int = 0
    orders: dict[str, Order] = field(default_factory=dict)


class _Block:
    """One block, in the place of its `forward`."""

    def __init__(self, module: nn.Module, tier: CompiledBlocks) -> None:
        self.module = module
        self._tier = tier
        self._stock: Call = type(module).forward.__get__(module)
        self._kind: Kind | None = None
        self._snapshot: tuple[list[object], list[object]] | None = None
        self._looked = False

    def forget(self) -> None:
        """What the block is, which is looked at once for each picture."""
        self._looked = False

    def kind(self) -> Kind | None:
        """What the block is now; None where it cannot be compiled."""
        if not self._looked:
            self._looked = True
            before, self._snapshot = self._snapshot, snapshot(self.module)
            if is_same(before, self._snapshot):
                return self._kind
            try:
                self._kind = kind_of(self.module)
            except NotCompilable:
                self._kind = None
        return self._kind

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._tier.called(self, self._stock, args, kwargs)


def agree(found: Any, wanted: Any) -> bool:
    """Whether two results of a denoiser are one within the tolerance."""
    try:
        pairs = zip(flat(found).tensors, flat(wanted).tensors, strict=True)
        return all(is_close(a, b, _tolerance(b)) for a, b in pairs)
    except (Unknown, ValueError):
        return False


def _tolerance(wanted: torch.Tensor) -> float:
    return BFLOAT16_TOLERANCE if wanted.dtype is torch.bfloat16 else TOLERANCE
