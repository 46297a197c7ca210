"""A device with memory of its own, without one: what is said to be there lies in the host's memory.

Every build of PyTorch knows the name of "xpu:0", and nothing is asked of its driver here. Whoever mixes tensors there
with tensors in the host's memory gets an error, as on a real device, and numbers are in half precision as there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode

CARD = torch.device("xpu:0")
_HOST = torch.device("cpu")
_NAMES = (str(CARD), CARD.type)
_BYTES = 10**12


def is_on_card(tensor: torch.Tensor) -> bool:
    """Views and `data` of a tensor share its storage, which bears the mark."""
    return hasattr(tensor.untyped_storage(), "is_on_card")


class FakeCard(TorchFunctionMode):
    """Within the context `CARD` can be computed on, by the thread that entered it."""

    def __enter__(self) -> FakeCard:
        driver = mock.patch.multiple(
            torch.xpu,
            mem_get_info=lambda _: (_BYTES, _BYTES),
            reset_peak_memory_stats=lambda _: None,
        )
        # transformers would copy adapters' weights in threads.
        one_thread = mock.patch.dict(os.environ, HF_DEACTIVATE_ASYNC_LOAD="1")
        asked = mock.patch("accelerate.utils.modeling.is_xpu_available", lambda: True)
        self._patches = (driver, one_thread, asked)
        for patch in self._patches:
            patch.start()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for patch in self._patches:
            patch.stop()

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        name = _name_of(function)
        if name in _ASKED and is_on_card(args[0]):
            return _ASKED[name]
        if name in _PASSED or name.endswith("__set__"):
            return function(*args, **named)
        given = list(_tensors((args, named)))
        if name in ("numpy", "__array__") and is_on_card(given[0]):
            raise TypeError(f"can't convert a tensor on {CARD} to numpy; copy it to the host first")
        target = _target(name, given, args, named)
        if target is None:
            _refuse_a_mixture(name, given, args)
        on_card = any(map(is_on_card, given)) if target is None else target.type == CARD.type
        generator = named.get("generator")
        if on_card and generator is not None and generator.device.type != CARD.type:
            raise RuntimeError(f"{name}: expected a generator on {CARD}, found the processor's")
        result = function(*_on_host(args), **_on_host(named))
        old = {it.untyped_storage()._cdata for it in given}
        if target is not None and isinstance(result, torch.Tensor):
            arrived = result.device.type == "meta" or is_on_card(result) == on_card
            if not arrived and result.untyped_storage()._cdata in old:
                result = result.clone()
        if on_card:
            for it in _tensors(result):
                if it.untyped_storage()._cdata not in old:
                    it.untyped_storage().is_on_card = True  # type: ignore[attr-defined]
        return result


_ASKED = {"device.__get__": CARD, "is_cpu.__get__": False, "is_xpu.__get__": True}
_PASSED = ("_parse_to", "_has_compatible_shallow_copy_type", "_set_grad_enabled", "device")
_MAY_MIX = ("copy_", "__setstate__", "set_")


def _name_of(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", "")
    if name in ("__get__", "__set__"):
        return f"{getattr(getattr(function, '__self__', None), '__name__', '')}.{name}"
    return name


def _target(
    name: str, given: Sequence[torch.Tensor], args: Sequence[Any], named: Mapping[str, Any]
) -> torch.device | None:
    """The device that the caller names, itself or by a tensor."""
    if name == "cpu":
        return _HOST
    if named.get("device") is not None:
        return torch.device(named["device"])
    for it in args:
        if isinstance(it, torch.device):
            return it
        if name == "to" and isinstance(it, str):
            return torch.device(it)
    if name in ("to", "type_as") and len(given) > 1:
        return CARD if is_on_card(given[1]) else _HOST
    return None


def _refuse_a_mixture(name: str, given: Sequence[torch.Tensor], args: Sequence[Any]) -> None:
    if not given or name in _MAY_MIX:
        return
    if name in ("__getitem__", "__setitem__") and is_on_card(args[0]):
        return  # indices may be anywhere, and a value that is set is copied
    there = [it for it in given if is_on_card(it)]
    if name == "__getitem__":  # a number for an index may be anywhere
        there = [it for it in there if it.ndim]
    here = [it for it in given if not is_on_card(it) and it.ndim and it.device.type != "meta"]
    if there and here:
        raise RuntimeError(
            f"{name}: expected all tensors to be on the same device, but some are on {CARD} and others, of "
            f"{[tuple(it.shape) for it in here]}, on the processor"
        )


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(tuple(value.values()))
    elif isinstance(value, (list, tuple)):
        for it in value:
            yield from _tensors(it)


def _on_host(value: Any) -> Any:
    if isinstance(value, torch.device):
        return _HOST if value.type == CARD.type else value
    if isinstance(value, str):
        return "cpu" if value in _NAMES else value
    if isinstance(value, Mapping):
        return {key: _on_host(it) for key, it in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_on_host(it) for it in value)
    return value
