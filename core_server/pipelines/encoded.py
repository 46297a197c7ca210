"""Pictures that were encoded lately: variations, other prompts and other strengths start from the same one.

Kept is what the network gave, before anything is drawn from it at random, so that a picture keeps its bits.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

MAX_BYTES = 64 * 1024 * 1024
MAX_KEPT = 8


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    state: Hashable
    image: torch.Tensor
    image_version: int
    encoded: Any
    versions: list[int]

    @property
    def size(self) -> int:
        """Bytes that it keeps alive: of a view, all that it is a view of; of two views of the same, that once."""
        storages = (it.untyped_storage() for it in (self.image, *_tensors(self.encoded)))
        return sum({it.data_ptr(): it.nbytes() for it in storages}.values())

    def is_of(self, state: Hashable, image: torch.Tensor) -> bool:
        """Whether it is this picture, number by number, and nobody has written into what became of it."""
        if self.state != state or self.versions != _versions(self.encoded):
            return False
        if image is self.image:
            return image._version == self.image_version
        return image.device == self.image.device and torch.equal(image, self.image)


@dataclass(slots=True, eq=False)
class EncodedCache:
    """What the networks of one loaded model made of pictures. hits, misses: how often one was found, or was new.

    max_bytes: of pictures and what became of them, on the device.
    """

    max_bytes: int = MAX_BYTES
    hits: int = 0
    misses: int = 0
    _kept: list[_Kept] = field(default_factory=list)
    """The one that was used last at the end."""

    @property
    def size(self) -> int:
        """Bytes that it keeps on the device."""
        return sum(it.size for it in self._kept)

    def clear(self) -> None:
        """Gives them up."""
        self._kept.clear()

    @contextmanager
    def used_by(self, network: Any, method: str, state: Hashable) -> Iterator[None]:
        """Within the context `network` works out no picture twice.

        method: of one picture, (1, channels, height, width), such as "encode". state: whatever else its answer depends
        on. Calls with further arguments, and those of which the answer's kind is not known, go through.
        """
        work, hidden = getattr(network, method), vars(network).get(method)
        state = (weakref.ref(network), method, state)

        def remembered(image: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if args or any(value not in (True, False) for value in kwargs.values()):
                return work(image, *args, **kwargs)
            layout = (image.shape, image.stride(), image.dtype, *sorted(kwargs.items()))
            found = self._get((state, layout), image)
            if found is None:
                found = work(image, **kwargs)
                self._put((state, layout), image, found)
            return found

        setattr(network, method, remembered)
        try:
            yield
        finally:
            delattr(network, method)
            if hidden is not None:
                setattr(network, method, hidden)

    def _get(self, state: Hashable, image: torch.Tensor) -> Any:
        for kept in reversed(self._kept):
            if kept.is_of(state, image):
                self.hits += 1
                self._kept.remove(kept)
                self._kept.append(kept)
                return kept.encoded
        self.misses += 1
        return None

    def _put(self, state: Hashable, image: torch.Tensor, encoded: Any) -> None:
        try:
            kept = _Kept(state, image, image._version, encoded, _versions(encoded))
        except RuntimeError:  # of inference mode, where nobody counts who writes
            return
        if not kept.versions or kept.size > self.max_bytes:
            return
        self._kept.append(kept)
        while len(self._kept) > MAX_KEPT or self.size > self.max_bytes:
            del self._kept[0]


def _versions(encoded: Any) -> list[int]:
    return [tensor._version for tensor in _tensors(encoded)]


def _tensors(encoded: Any) -> list[torch.Tensor]:
    """Of a tensor, a tuple, one of diffusers' outputs, or the distribution inside; none of anything else."""
    if isinstance(encoded, torch.Tensor):
        return [encoded]
    if isinstance(encoded, dict):  # diffusers' outputs are dicts too
        parts = list(encoded.values())
    elif isinstance(encoded, tuple):
        parts = list(encoded)
    else:
        parts = [it for it in vars(encoded).values() if isinstance(it, torch.Tensor)]
    return [tensor for part in parts for tensor in _tensors(part)]
