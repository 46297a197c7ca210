"""What a call of a network looks like without its numbers: the part of a graph's key that comes from the arguments."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, NamedTuple

import torch

_CONSTANTS = (bool, int, float, str, torch.dtype, torch.device)


class Flat(NamedTuple):
    """key: structure, constants, and each tensor's shape, type and layout. tensors: in the order of the structure."""

    key: Hashable
    tensors: list[torch.Tensor]
    rebuilt: Callable[[list[torch.Tensor]], Any]
    """The same structure with other tensors."""


class Unknown(Exception):
    """Something stands in the arguments whose meaning is not known, so that no graph may stand for the call."""


def flat(value: Any) -> Flat:
    """Tuples, lists and dicts of tensors and constants. Errors: Unknown for anything else."""
    tensors: list[torch.Tensor] = []
    key = _key(value, tensors)
    return Flat(key, tensors, lambda others: _rebuilt(value, iter(others)))


def _key(value: Any, tensors: list[torch.Tensor]) -> Hashable:
    if isinstance(value, torch.Tensor):
        tensors.append(value)
        return (tuple(value.shape), value.stride(), value.dtype, value.device.type)
    if value is None or isinstance(value, _CONSTANTS):
        return (type(value), value)
    if type(value) in (tuple, list):
        return (type(value), *(_key(item, tensors) for item in value))
    if type(value) is dict:
        return (dict, *((name, _key(item, tensors)) for name, item in value.items()))
    raise Unknown(type(value).__name__)


def _rebuilt(value: Any, tensors: Iterator[torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        return next(tensors)
    if type(value) in (tuple, list):
        return type(value)(_rebuilt(item, tensors) for item in value)
    if type(value) is dict:
        return {name: _rebuilt(item, tensors) for name, item in value.items()}
    return value
