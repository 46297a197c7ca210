"""LoRAs on a loaded model: several at once, kept for the next job, and nothing of them left where none is asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from safetensors.torch import load_file

from core_server.errors import InvalidRequest, on_one_line
from core_server.pipelines.adapter_files import AdapterFile
from core_server.pipelines.adapter_layouts import as_diffusers
from core_server.pipelines.hashes import sha256_of

MAX_KEPT = 8
"""LoRAs that stay on a model for the next job; the one that was used longest ago goes first."""


@dataclass(slots=True, eq=False)
class AdapterRack:
    """The LoRAs of one model. pipeline: any of its stock pipelines; they share the modules that a LoRA changes."""

    pipeline: Any
    hits: int = 0
    misses: int = 0
    """How often a LoRA was there already, or had to be read."""
    _kept: OrderedDict[str, str] = field(default_factory=OrderedDict)

    @contextmanager
    def worn(self, wanted: Sequence[tuple[AdapterFile, float, str]]) -> Iterator[list[str]]:
        """Within the context the LoRAs act with their weights, afterwards none does. wanted: file, weight, field.

        Yields the SHA-256 of each file. Errors: InvalidRequest for a LoRA that does not fit.
        """
        hashes = [sha256_of(adapter.path) for adapter, _, _ in wanted]
        try:
            names = [
                self._load(adapter, digest, at)
                for (adapter, _, at), digest in zip(wanted, hashes, strict=True)
            ]
            if names:
                self.pipeline.enable_lora()
                self.pipeline.set_adapters(names, [weight for _, weight, _ in wanted])
            yield hashes
        finally:
            if self._kept:
                self.pipeline.disable_lora()
            while len(self._kept) > MAX_KEPT:
                _, oldest = self._kept.popitem(last=False)
                self.pipeline.delete_adapters(oldest)

    def _load(self, adapter: AdapterFile, digest: str, at: str) -> str:
        name = self._kept.get(digest)
        self.hits += name is not None
        self.misses += name is None
        if name is None:
            # Never the same name twice: a text encoder may be shared with another model's rack.
            name = f"lora_{digest[:16]}_{id(self):x}"
            self._add(adapter, name, at)
            self._kept[digest] = name
        self._kept.move_to_end(digest)
        return name

    def _add(self, adapter: AdapterFile, name: str, at: str) -> None:
        if not hasattr(self.pipeline, "load_lora_weights"):
            raise InvalidRequest(
                at, f"{type(self.pipeline).__name__} cannot use a LoRA; leave {adapter.name!r} out."
            )
        try:
            tensors = as_diffusers(load_file(adapter.path))
            self.pipeline.load_lora_weights(tensors, adapter_name=name)
        except (
            Exception
        ) as error:  # the libraries raise whatever they like for layers that do not match
            self._forget(name)
            raise InvalidRequest(
                at,
                f"The LoRA {adapter.name!r} does not fit this model: {on_one_line(error, 200)}",
            ) from error
        if name not in self._parts(name):
            raise InvalidRequest(
                at,
                f"The LoRA {adapter.name!r} has no layer of this model; it was made for another family.",
            )

    def _parts(self, name: str) -> set[str]:
        listed = self.pipeline.get_list_adapters()
        return {it for names in listed.values() for it in names if it == name}

    def _forget(self, name: str) -> None:
        if self._parts(name):
            self.pipeline.delete_adapters(name)
