"""Keys and values of the prompt, which every cross-attention of a UNet makes of the same embeddings at every step.

They are worked out once for each prompt, into memory whose addresses stay: a graph that was recorded with one prompt
reads another one's there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

Function = Callable[..., Any]
Pair = tuple[torch.Tensor, torch.Tensor]

MOST_SHAPES = 8
"""Of prompts whose memory is kept: guided and not, one picture and several."""
_ALIGNED = 512
"""Bytes; as allocators align tensors, since a product's last bits may depend on it."""
_ARGUMENT, _PLACE = "encoder_hidden_states", 2
"""What a UNet's `forward` calls the prompt, and where it has it."""


@dataclass(slots=True, eq=False)
class _Features:
    """serial: never the same twice. filled: the prompt, its version and the weights' state that it was made with."""

    serial: int
    pairs: dict[int, Pair]
    size: int
    filled: tuple[torch.Tensor, int, Hashable] | None = None


class PromptFeatures:
    """Of one UNet. One thread calls it."""

    def __init__(self) -> None:
        self.layers: tuple[nn.Module, ...] = ()
        """The cross-attentions that are asked for, exactly stock ones."""
        self._kept: OrderedDict[Hashable, _Features] = OrderedDict()
        self._ready: _Features | None = None
        self._prompt: torch.Tensor | None = None
        self._made = 0

    @property
    def size(self) -> int:
        """Bytes kept on the device."""
        return sum(it.size for it in self._kept.values())

    def clear(self) -> None:
        """Gives the memory back."""
        self._kept.clear()
        self._ready = None

    def forget(self) -> None:
        """Works all prompts out anew, in the same memory: somebody may have written to the weights."""
        for features in self._kept.values():
            features.filled = None

    @torch.no_grad()
    def prepare(self, args: Sequence[Any], kwargs: dict[str, Any], state: Hashable) -> Hashable:
        """Readies the prompt of a UNet's call for `served`; the result stands for the memory that it reads then.

        state: equal only for the same weights at the same addresses.
        """
        self._ready = None
        prompt = _prompt_of(args, kwargs)
        if not self.layers or not isinstance(prompt, torch.Tensor) or prompt.is_inference():
            return None
        if prompt.ndim != 3 or prompt.dtype is not next(self.layers[0].parameters()).dtype:
            return None
        features = self._for(prompt)
        filled = features.filled
        if filled is None or filled[0] is not prompt or filled[1:] != (prompt._version, state):
            features.filled = None
            self._fill(features, prompt)
            features.filled = (prompt, prompt._version, state)
        self._ready = features
        return features.serial

    def served(self, forward: Function) -> Function:
        """A UNet's `forward` that reads what `prepare` has made of its prompt."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self._prompt = None if self._ready is None else _prompt_of(args, kwargs)
            try:
                return forward(*args, **kwargs)
            finally:
                self._prompt = None

        return call

    def of(self, layer: Any, prompt: torch.Tensor) -> Pair:
        """Keys and values, (batch, tokens, channels of the layer)."""
        if self._ready is not None and prompt is self._prompt:
            pair = self._ready.pairs.get(id(layer))
            if pair is not None:
                return pair
        return layer.to_k(prompt), layer.to_v(prompt)

    def _for(self, prompt: torch.Tensor) -> _Features:
        layers = tuple(id(layer) for layer in self.layers)
        key = (tuple(prompt.shape), prompt.dtype, prompt.device, layers)
        features = self._kept.get(key)
        if features is None:
            while len(self._kept) >= MOST_SHAPES:
                self._kept.popitem(last=False)
            features = self._kept[key] = self._made_for(prompt)
        self._kept.move_to_end(key)
        return features

    def _made_for(self, prompt: torch.Tensor) -> _Features:
        batch, tokens = prompt.shape[:2]
        each = _ALIGNED // prompt.element_size()
        sizes = [batch * tokens * width for layer in self.layers for width in _widths(layer)]
        steps = [-(-size // each) * each for size in sizes]
        memory = prompt.new_empty(sum(steps))
        parts = (part[:size] for part, size in zip(torch.split(memory, steps), sizes, strict=True))
        pairs: dict[int, Pair] = {}
        for layer in self.layers:
            key, value = (next(parts).view(batch, tokens, width) for width in _widths(layer))
            pairs[id(layer)] = key, value
        self._made += 1
        return _Features(self._made, pairs, memory.numel() * memory.element_size())

    def _fill(self, features: _Features, prompt: torch.Tensor) -> None:
        rows = prompt.reshape(-1, prompt.shape[-1])
        for layer in self.layers:
            for linear, out in zip(_linears(layer), features.pairs[id(layer)], strict=True):
                if linear.bias is None:
                    torch.mm(rows, linear.weight.t(), out=out.view(-1, out.shape[-1]))
                else:
                    out.copy_(functional.linear(prompt, linear.weight, linear.bias))


def _linears(layer: Any) -> tuple[nn.Linear, nn.Linear]:
    return layer.to_k, layer.to_v


def _widths(layer: Any) -> tuple[int, int]:
    key, value = _linears(layer)
    return key.out_features, value.out_features


def _prompt_of(args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    return args[_PLACE] if len(args) > _PLACE else kwargs.get(_ARGUMENT)
