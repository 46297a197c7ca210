"""Networks whose layers are on the device only while they are at work, and the others wait in the host's memory.

While one layer works, the next one that is not there is on its way: with enough work for each layer that costs no time.
The order is learned from the calls themselves. As many layers as there is room for stay, spread evenly, since each
that stays gives the others' copies its time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache, partial
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import nn

from core_server.pipelines.parcels import Parcel, packed

AT_ONCE = 3
"""Layers on the device at once: at work, on its way, and one whose memory is about to be free."""
_FINEST = 40
"""Layers larger than this part of their network travel in pieces where they are made of layers themselves."""
_LEAST = 1000
"""Layers smaller than this part of their network stay with what lies between the layers."""
_MOSTLY = 0.8
"""Share of a layer that its own layers must have for that."""
_CHUNK = 1 << 28
"""Bytes of a parcel of what lies between the layers; one piece of many gigabytes finds room less often."""
_PRECISE = ("embed", "norm")
"""Parts of the names of layers that 8 bits would hurt most and that weigh least."""
Layer = TypeVar("Layer", nn.Module, Parcel)
_ALONE = (nn.Linear, nn.Conv2d, nn.Embedding)
"""Single modules that travel by themselves if they are that large: tables of words."""


class OffloadedNetwork:
    """A network that computes on `device` and is mostly elsewhere. One thread calls it.

    Whoever asks diffusers where its inputs belong is told `device`, wherever its weights are.

    layered: whether layers come one by one; otherwise the whole network comes when it is called. rest_stays: whether
    what lies between the layers never leaves; kept: bytes of layers that stay with it. narrow: what large weights of
    layers are kept in, wherever they are; they are widened while they work. Errors: torch.OutOfMemoryError.
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device,
        *,
        kept: int = 0,
        layered: bool = True,
        rest_stays: bool = False,
        narrow: torch.dtype | None = None,
        lane: Lane | None = None,
    ) -> None:
        """lane: another way to copy beside what is computed than the device's own."""
        self._device = device
        self._hooks: list[Any] = []
        self._next: dict[Parcel, Parcel] = {}
        self._last: Parcel | None = None
        self._lane = lane or _lane(device)
        layers = layers_of(network) if layered else []
        kept_in = {} if narrow is None else dict.fromkeys(large_weights(network), narrow)
        coming = layers if kept_in else _divided(layers, kept)
        travelling = {id(it) for layer in coming for it in _tensors(layer)}
        rest = [it for it in _tensors(network) if id(it) not in travelling]
        between = [] if rest_stays else _chunks(rest)
        parcels = packed([*between, *map(_tensors, coming)], device, kept_in)
        self._rest, self._layers = parcels[: len(between)], parcels[len(between) :]
        self._owned = {id(it) for parcel in parcels for it in parcel.tensors}
        if rest_stays:
            _bring_strangers(rest, device, set())
        if kept_in:
            leaving = set(_divided(self._layers, kept))
            for parcel in self._layers:
                if parcel not in leaving:
                    parcel.stay()
        self._know(network)
        self._hooks.append(ExecutesOn(device).on(network))
        self._hooks.append(network.register_forward_pre_hook(self._begin))
        for layer, parcel in zip(coming, self._layers, strict=True):
            self._hooks.append(layer.register_forward_pre_hook(partial(self._arrive, parcel)))
            self._hooks.append(
                layer.register_forward_hook(partial(self._done, parcel), always_call=True)
            )

    def leave(self) -> None:
        """Nothing of it that can leave stays on the device; it comes again when it is called."""
        for parcel in chain(self._rest, self._layers):
            if parcel.there:
                parcel.leave()

    def dissolve(self) -> None:
        """It is an ordinary network again, what travelled in the host's memory."""
        while self._hooks:
            self._hooks.pop().remove()
        for parcel in chain(self._rest, self._layers):
            parcel.dissolve()

    def _begin(self, network: nn.Module, _: Any) -> None:
        # On the stream that computes: it waits for them anyway, and their memory is the next computation's when they
        # leave; what a stream of its own took would be given back to the driver first.
        for parcel in self._rest:
            if not parcel.there:
                parcel.bring()
        # What adapters added since, wherever it was put. To look for it takes as long as to launch half a step.
        if not all(live == known for live, known in self._children) or not all(
            len(live) == known for live, known in self._parameters
        ):
            self._know(network)
            _bring_strangers(_tensors(network), self._device, self._owned)

    def _know(self, network: nn.Module) -> None:
        modules = list(network.modules())
        self._children = [(it._modules, dict(it._modules)) for it in modules if it._modules]
        self._parameters = [(it._parameters, len(it._parameters)) for it in modules]

    def _arrive(self, parcel: Parcel, *_: Any) -> None:
        if self._last is not None:
            self._next[self._last] = parcel
        self._last = parcel
        self._bring(parcel)
        following = self._next.get(parcel)
        if self._lane is not None and following is not None and not following.there:
            try:
                self._lane.send(following)
            except torch.OutOfMemoryError:
                return  # it is sent for when it is needed

    def _done(self, parcel: Parcel, *_: Any) -> None:
        if parcel.there:
            parcel.leave()

    def _bring(self, parcel: Parcel) -> None:
        if self._lane is None:
            if not parcel.there:
                parcel.bring()
            return
        if not parcel.there:
            self._lane.send(parcel)
        self._lane.wait(parcel)


class ExecutesOn:
    """Where a network's inputs belong, under the name by which diffusers asks for it (`get_module_execution_device`,
    `DiffusionPipeline._execution_device`): a hook of accelerate's that does nothing.

    execution_device: as accelerate's hooks have it.
    """

    def __init__(self, device: torch.device) -> None:
        self.execution_device = device
        self._networks: list[nn.Module] = []

    def on(self, network: nn.Module) -> ExecutesOn:
        """It is this network's, until it is removed. Returns itself."""
        vars(network)["_hf_hook"] = self
        self._networks.append(network)
        return self

    def remove(self) -> None:
        """The network says itself again where it is."""
        while self._networks:
            del vars(self._networks.pop())["_hf_hook"]


class Lane:
    """A stream of its own, on which copies happen while something is computed."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def send(self, parcel: Parcel) -> None:
        """The parcel is on its way. Errors: torch.OutOfMemoryError."""
        # Its memory may have been another parcel's, with which all that was asked for so far computes.
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            parcel.bring()
            parcel.ready = self._stream.record_event()

    def wait(self, parcel: Parcel) -> None:
        """What is computed from now on finds it there."""
        if parcel.ready is not None:
            torch.cuda.current_stream(self._device).wait_event(parcel.ready)
            parcel.ready = None


@cache
def _lane(device: torch.device) -> Lane | None:
    """One for all networks, since the allocator keeps what was freed for the stream that it was taken for. None where
    copies happen at once."""
    return Lane(device) if device.type == "cuda" else None


def at_work(network: nn.Module) -> int:
    """Bytes that a network takes on the device while its layers come and go and none stays."""
    layers = layers_of(network)
    sizes = [_bytes(layer) for layer in layers]
    return _bytes(network) - sum(sizes) + sum(sorted(sizes)[-AT_ONCE:])


def layers_of(network: nn.Module) -> list[nn.Module]:
    """Parts of a network that are called as a whole, share no tensor with anything else, and make up most of it."""
    total = _bytes(network)
    largest = total // _FINEST
    uses = Counter(
        id(it)
        for module in network.modules()
        for it in chain(module.parameters(recurse=False), module.buffers(recurse=False))
    )
    found = [
        layer
        for layer in _listed(network, largest)
        if _bytes(layer) > total // _LEAST and all(uses[id(it)] == 1 for it in _tensors(layer))
    ]
    inside = {id(module) for layer in found for module in layer.modules()}
    alone = [
        module
        for module in network.modules()
        if isinstance(module, _ALONE) and id(module) not in inside and _bytes(module) > largest
    ]
    return found + [it for it in alone if all(uses[id(tensor)] == 1 for tensor in _tensors(it))]


def _listed(module: nn.Module, largest: int) -> Iterator[nn.Module]:
    """What lists of layers hold: each is called by itself."""
    for child in module.children():
        if not isinstance(child, (nn.ModuleList, nn.Sequential)):
            yield from _listed(child, largest)
            continue
        for layer in child:
            inner = list(_listed(layer, largest))
            size = _bytes(layer)
            if size > largest and sum(map(_bytes, inner)) > _MOSTLY * size:
                yield from inner
            else:
                yield layer


def large_weights(network: nn.Module) -> Iterator[int]:
    """Ids of the weights that bear 8 bits, by the names that diffusers' layerwise casting leaves out."""
    for name, module in network.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)) and not any(it in name for it in _PRECISE):
            yield id(module.weight)


def _divided(layers: list[Layer], kept: int) -> list[Layer]:
    """Those that come and go; those that stay lie evenly among them. kept: bytes."""
    sizes = [it.size if isinstance(it, Parcel) else _bytes(it) for it in layers]
    share = kept / max(sum(sizes), 1)
    coming: list[Layer] = []
    passed = stayed = 0
    for layer, size in zip(layers, sizes, strict=True):
        passed += size
        if stayed + size <= share * passed:
            stayed += size
        else:
            coming.append(layer)
    return coming


def _chunks(tensors: list[torch.Tensor]) -> list[list[torch.Tensor]]:
    chunks: list[list[torch.Tensor]] = []
    room = 0
    for tensor in tensors:
        size = tensor.numel() * tensor.element_size()
        if not chunks or size > room:
            chunks.append([])
            room = _CHUNK
        chunks[-1].append(tensor)
        room -= size
    return chunks


def _bring_strangers(
    tensors: Iterable[torch.Tensor], device: torch.device, but_for: set[int]
) -> None:
    for tensor in tensors:
        if tensor.device != device and id(tensor) not in but_for:
            tensor.data = tensor.data.to(device)


def _tensors(module: nn.Module) -> list[torch.Tensor]:
    return [*module.parameters(), *module.buffers()]


def _bytes(module: nn.Module) -> int:
    return sum(it.numel() * it.element_size() for it in _tensors(module))
