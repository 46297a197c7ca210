"""Modules that compute otherwise for a while: an instance attribute hides the class's method, deleting it is a complete
undo."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

Function = Callable[..., Any]


class Overrides:
    """Methods to be hidden: put on and taken off as often as wanted. What somebody else has hidden is left alone."""

    def __init__(self) -> None:
        self._planned: list[tuple[nn.Module, str, Function]] = []
        self._changed: list[tuple[nn.Module, str]] = []

    def add(self, module: nn.Module, name: str, function: Function) -> None:
        """From the next `put_on` on `function` is the module's method of that name."""
        self._planned.append((module, name, function))

    def put_on(self) -> None:
        """The modules compute this way from now on."""
        for module, name, function in self._planned:
            if name not in vars(module):
                object.__setattr__(module, name, function)
                self._changed.append((module, name))

    def take_off(self) -> None:
        """Nothing is left of it."""
        while self._changed:
            module, name = self._changed.pop()
            object.__delattr__(module, name)


@contextmanager
def called_by(module: nn.Module, call: Function) -> Iterator[None]:
    """Within the context `call` is the module's `forward`; afterwards again what was there, an offloading hook's."""
    hidden = vars(module).get("forward")
    object.__setattr__(module, "forward", call)
    try:
        yield
    finally:
        if hidden is None:
            object.__delattr__(module, "forward")
        else:
            object.__setattr__(module, "forward", hidden)
