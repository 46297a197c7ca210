"""Prompts that were encoded lately: many pictures are painted from the same words."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from core_server.pipelines.tiers.signature import Flat, Unknown, flat

MAX_BYTES = 64 * 1024 * 1024
"""Hundreds of Stable Diffusion's prompts, eight of a large language model's."""


@dataclass(slots=True, eq=False)
class PromptCache:
    """The encoded prompts of one loaded model. hits, misses: how often one was found, or had to be made.

    max_bytes: of embeddings on the device.
    """

    max_bytes: int = MAX_BYTES
    hits: int = 0
    misses: int = 0
    _kept: OrderedDict[Hashable, tuple[Flat, list[int]]] = field(default_factory=OrderedDict)

    @property
    def size(self) -> int:
        """Bytes that it keeps on the device."""
        return sum(it.nbytes for found, _ in self._kept.values() for it in found.tensors)

    def clear(self) -> None:
        """Gives them up."""
        self._kept.clear()

    @contextmanager
    def used_by(self, pipeline: Any) -> Iterator[None]:
        """Within the context the pipeline encodes no prompt twice. Not for words that adapters change."""
        encode = getattr(pipeline, "encode_prompt", None)
        if encode is None or "encode_prompt" in vars(pipeline):
            yield
            return

        def remembered(*args: Any, **kwargs: Any) -> Any:
            try:
                asked = flat((args, kwargs))
            except Unknown:
                return encode(*args, **kwargs)
            if asked.tensors:  # encoded already
                return encode(*args, **kwargs)
            key = (type(pipeline).__name__, asked.key)
            found = self._get(key)
            return self._make(key, encode(*args, **kwargs)) if found is None else found

        pipeline.encode_prompt = remembered
        try:
            yield
        finally:
            del pipeline.encode_prompt

    def _get(self, key: Hashable) -> Any:
        found, versions = self._kept.get(key, (None, []))
        # What somebody wrote into is no longer what was encoded.
        if found is None or _versions(found.tensors) != versions:
            return None
        self.hits += 1
        self._kept.move_to_end(key)
        return found.rebuilt(found.tensors)

    def _make(self, key: Hashable, encoded: Any) -> Any:
        self.misses += 1
        try:
            found = flat(encoded)
            self._kept[key] = (found, _versions(found.tensors))
        except (Unknown, RuntimeError):
            return encoded
        while self.size > self.max_bytes:
            self._kept.popitem(last=False)
        return encoded


def _versions(tensors: list[torch.Tensor]) -> list[int]:
    return [tensor._version for tensor in tensors]
