"""What a block of a transformer is to a compiler: its structure, its weights in order, and one way it is called.

An order holds everything but numbers, so that another process can compile the block without the model. Which program
belongs to which block is said by its digest: structure, settings, shapes, and what compiled it. Weights are arguments
of the program: other weights of the same shapes, and all blocks of a kind, share it.
"""

from __future__ import annotations

import copy
import hashlib
import io
import operator
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import torch
from torch import nn

from core_server.pipelines.tiers.compiled_lora import is_adapted, settings_of, unwrapped
from core_server.pipelines.tiers.kernels import is_free
from core_server.pipelines.tiers.signature import Flat

_SCALARS = (bool, int, float, str, type(None), torch.dtype)
_FUNCTIONS = (FunctionType, BuiltinFunctionType, MethodType, type)
_PLACES = {"layer_id", "layer_idx", "layer_index", "block_id", "block_idx", "block_index"}
"""Where a block stands among its like, which changes nothing of what it computes."""
_OF_MODULES = set(vars(nn.Module()))


class NotCompilable(Exception):
    """Somebody has a hand in the block, or it holds what cannot be an argument of a program."""


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """What blocks have in common that one program can compute. fingerprint: equal for equal structure."""

    fingerprint: str
    block: nn.Module
    """Without adapters that do not act; it shares the weights."""
    tensors: tuple[torch.Tensor, ...]
    """Parameters and buffers, in the order of `slots`."""


@dataclass(frozen=True, slots=True)
class Order:
    """digest: the program's name, SHA-256. payload: for `read`."""

    digest: str
    payload: bytes


def blocks_of(denoiser: nn.Module) -> Iterator[nn.Module]:
    """The repeated blocks: what stands in the lists of a transformer."""
    for child in denoiser.children():
        if isinstance(child, nn.ModuleList):
            yield from (block for block in child if next(block.parameters(), None) is not None)


def kind_of(block: nn.Module) -> Kind:
    """Errors: NotCompilable."""
    bare = _bare(block, is_root=True)
    lines = []
    for path, module in bare.named_modules():
        lines.append(f"{path}:{_name(type(module))}{_settings(module)}")
    tensors = tuple(getattr(module, name) for module, name in slots(bare))
    for tensor in tensors:
        if type(tensor) not in (torch.Tensor, nn.Parameter) or tensor.is_meta:
            raise NotCompilable(f"a weight is a {type(tensor).__name__}")
        lines.append(str(_looks(tensor)))
    return Kind(hashlib.sha256("\n".join(lines).encode()).hexdigest(), bare, tensors)


def snapshot(block: nn.Module) -> tuple[list[object], list[object]]:
    """What `kind_of` reads, by reference and by value: while `is_same`, the kind is."""
    found: list[object] = []
    values: list[object] = []
    for module in block.modules():
        held = {name: value for name, value in vars(module).items() if name != "forward"}
        found += held.values()
        found += module._parameters.values()
        found += module._buffers.values()
        values += (len(module._forward_hooks), len(module._forward_pre_hooks))
        if module is not block:
            values.append("forward" in vars(module))
        if (processor := held.get("processor")) is not None:
            found += vars(processor).values()
        if is_adapted(module):
            values += settings_of(module)
    return found, values


def is_same(
    first: tuple[list[object], list[object]] | None, second: tuple[list[object], list[object]]
) -> bool:
    """Whether two snapshots hold the very same objects, and equal values."""
    if first is None or len(first[0]) != len(second[0]) or first[1] != second[1]:
        return False
    return all(map(operator.is_, first[0], second[0]))


def slots(block: nn.Module) -> list[tuple[nn.Module, str]]:
    """Where the weights of a block stand, in an order that another process finds as well."""
    return [
        (module, name)
        for module in block.modules()
        for held in (module._parameters, module._buffers)
        for name, tensor in held.items()
        if tensor is not None
    ]


def digest_of(kind: Kind, given: Flat, compiled_by: str) -> str:
    """given: a call's (args, kwargs). compiled_by: versions and device."""
    text = f"{kind.fingerprint}\n{given.key!r}\n{compiled_by}"
    return hashlib.sha256(text.encode()).hexdigest()


def order_for(digest: str, kind: Kind, given: Flat) -> Order:
    """Errors: NotCompilable for what cannot be written down."""
    written = io.BytesIO()
    try:
        _Writer(written).dump((kind.block, given.rebuilt(given.tensors)))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise NotCompilable(str(error)) from error
    return Order(digest, written.getvalue())


def read(payload: bytes, device: torch.device) -> tuple[nn.Module, tuple[Any, dict[str, Any]]]:
    """The block, and (args, kwargs) of its call, with new tensors; within a FakeTensorMode they take no memory.

    payload: from our own process alone, since it is unpickled.
    """
    block, given = _Reader(io.BytesIO(payload), device).load()
    return block, given


def _bare(module: nn.Module, *, is_root: bool = False) -> nn.Module:
    """A copy that shares the weights, without what may not stand in an order."""
    if is_adapted(module):
        plain = unwrapped(module) if is_free(module) and "forward" not in vars(module) else None
        if plain is None:
            raise NotCompilable("an adapter acts in a way of its own")
        return _bare(plain)
    if not is_free(module) or ("forward" in vars(module) and not is_root):
        raise NotCompilable(f"a {type(module).__name__} is called in another way")
    copied = copy.copy(module)
    vars(copied).pop("forward", None)
    copied._modules = {
        name: None if child is None else _bare(child) for name, child in module._modules.items()
    }
    return copied


def _settings(module: nn.Module) -> str:
    found = {}
    for name, value in vars(module).items():
        if name not in _OF_MODULES and name not in _PLACES:
            found[name] = _told(value)
    return str(sorted(found.items()))


def _told(value: Any, depth: int = 0) -> str:
    if isinstance(value, _SCALARS):
        return repr(value)
    if isinstance(value, torch.Tensor):
        raise NotCompilable("a tensor stands among its settings")
    if isinstance(value, (list, tuple, set)):
        return f"{type(value).__name__}({', '.join(_told(item, depth) for item in value)})"
    if isinstance(value, dict):
        return str({str(name): _told(item, depth) for name, item in value.items()})
    if isinstance(value, _FUNCTIONS):
        return _name(value)
    inner = vars(value) if depth < 2 and hasattr(value, "__dict__") else {}
    told = {name: _told(item, depth + 1) for name, item in inner.items() if name not in _PLACES}
    return f"{_name(type(value))}{told}"


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '?')}"


def _looks(tensor: torch.Tensor) -> tuple[Any, ...]:
    dtype = str(tensor.dtype).removeprefix("torch.")
    return (tuple(tensor.shape), tensor.stride(), dtype, tensor.device.type)


class _Writer(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        return _looks(value) if isinstance(value, torch.Tensor) else None


class _Reader(pickle.Unpickler):
    def __init__(self, file: Any, device: torch.device) -> None:
        super().__init__(file)
        self._device = device

    def persistent_load(self, looks: Any) -> torch.Tensor:
        shape, stride, dtype, kind = looks
        device = self._device if self._device.type == kind else torch.device(kind)
        return torch.empty_strided(shape, stride, dtype=getattr(torch, dtype), device=device)
