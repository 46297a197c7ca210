"""History states, and what they keep of layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fakes.photoshop.layer import LayerSet
from tests.fakes.photoshop.objects import Thing

if TYPE_CHECKING:
    from tests.fakes.photoshop.document import Document


class HistoryState(Thing):
    """JS: HistoryState. `snapshot` restores the document."""

    typename = "HistoryState"

    def __init__(self, document: Document, name: str, snapshot: dict[str, Any]) -> None:
        self.document = document
        self.name = name
        self._snapshot = snapshot


def saved_layers(stack: list[Any]) -> list[tuple[Any, Any, Any]]:
    """(layer, state, layers within) of each."""
    return [(it, it._state, saved_layers(getattr(it, "stack", []))) for it in stack]


def restore_layers(stack: list[Any], saved: list[tuple[Any, Any, Any]]) -> None:
    """Makes a stack what it was when it was saved."""
    stack[:] = [layer for layer, _, _ in saved]
    for layer, state, inside in saved:
        layer._state = state
        if isinstance(layer, LayerSet):
            restore_layers(layer.stack, inside)


def copied_layers(stack: list[Any], target: Document) -> list[Any]:
    """The same layers for another document."""
    copies = []
    for layer in stack:
        copy = type(layer)(target, layer._state)
        if isinstance(layer, LayerSet):
            copy.stack[:] = copied_layers(layer.stack, target)
        copies.append(copy)
    return copies
