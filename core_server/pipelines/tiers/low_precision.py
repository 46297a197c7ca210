"""Products of a denoiser's transformer blocks in 8 bit: faster with a named loss, off unless it is asked for.

What is in 8 bit are the linear layers of attention and feed-forward where a picture has many tokens. First and last
layers, embeddings of time and text, norms, modulation, convolutions and attention itself stay as they are loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn import functional

from core_server.errors import InvalidRequest
from core_server.pipelines.memory import Rung
from core_server.pipelines.overrides import Function, Overrides
from core_server.pipelines.tiers.low_precision_blocks import block_forward, fits, is_plain_block
from core_server.pipelines.tiers.plain import is_free
from core_server.pipelines.tiers.prompt_features import PromptFeatures
from core_server.pipelines.tiers.row_trials import NoLowPrecision
from core_server.pipelines.tiers.scaled_rows import RowOperations, Rows

if TYPE_CHECKING:
    from core_server.pipelines.model import LoadedModel
    from core_server.pipelines.settings import Settings

_BLOCKS = ("transformer_blocks", "single_transformer_blocks", "layers")
_INSIDE = {
    "attn", "attn1", "attn2", "attention", "ff", "ff_context", "feed_forward", "mlp", "img_mlp", "txt_mlp",
    "proj_mlp", "proj_out",
}  # fmt: skip
"""Names below which layers of a numbered block may be in 8 bit."""


class Precisions:
    """What one loaded model has in 8 bit: nothing before it was asked for."""

    def __init__(self) -> None:
        self._made: dict[str, LowPrecision] = {}
        self._no_room = False

    @property
    def size(self) -> int:
        """Bytes of weights, beside the model's own."""
        return sum(it.size for it in self._made.values())

    def release(self) -> bool:
        """Gives the weights back and makes no more; whether there were any."""
        had = bool(self._made)
        self._no_room |= had
        self._made.clear()
        return had

    @contextmanager
    def used(self, model: LoadedModel, precision: str, prompts: PromptFeatures) -> Iterator[None]:
        """Within the context the denoiser computes in `precision`. prompts: the denoiser's.

        Errors: InvalidRequest where it cannot.
        """
        name = model.profile.model_id
        known = self._made.get(precision)
        if known is None or model.rack is not None or model.reference_kit is not None:
            if self._no_room:
                raise _refused(f"There is no room for {precision} weights of the model {name!r}")
            rows = _operations(model, precision)
            known = LowPrecision(rows, model.denoiser, prompts, known)
            if not known:
                raise _refused(f"The model {name!r} has no layers that could be {precision}")
            self._made[precision] = known
        known.put_on()
        try:
            yield
        finally:
            known.take_off()


def need_precision(model: LoadedModel, settings: Settings) -> None:
    """Errors: InvalidRequest where the model cannot paint in the precision that the settings ask for."""
    precision, name = settings.denoiser_precision, model.profile.model_id
    _operations(model, precision)
    if model.family.is_linear:
        raise _refused(f"The model {name!r} loses too much in {precision}: its attention is linear")
    if model.rung is not None and model.rung > Rung.VAE_TILED:
        raise _refused(
            f"The model {name!r} cannot paint in {precision} here, since its denoiser does not stay in the GPU's memory"
        )
    if settings.block_cache:
        raise _refused(f"A block cache and {precision} cannot be had together")


def _operations(model: LoadedModel, precision: str) -> RowOperations:
    try:
        return model.workshop.rows(model.device, precision)
    except NoLowPrecision as error:
        raise _refused(f"This server cannot paint in {precision}: {error}") from error


def _refused(sentence: str) -> InvalidRequest:
    return InvalidRequest(
        "parameters.denoiser_precision",
        f"{sentence}; leave denoiser_precision out.",
        allowed="unset",
    )


class LowPrecision(Overrides):
    """A denoiser's layers in 8 bit as the denoiser is now: built once, put on for each picture.

    Weights are turned into 8 bit when they are first used, and kept beside those that were loaded. kept: the weights
    of an earlier one for the same denoiser, since adapters change what is replaced but never the model's own layers.
    prompts: the denoiser's.
    """

    def __init__(
        self,
        rows: RowOperations,
        denoiser: nn.Module,
        prompts: PromptFeatures | None = None,
        kept: LowPrecision | None = None,
    ) -> None:
        super().__init__()
        prompts = prompts or PromptFeatures()
        self.rows = rows
        self._weights: WeakKeyDictionary[nn.Module, Rows] = (
            WeakKeyDictionary() if kept is None else kept._weights
        )
        self._joined: WeakKeyDictionary[nn.Module, Rows] = (
            WeakKeyDictionary() if kept is None else kept._joined
        )
        for module in denoiser.modules():
            if is_plain_block(module, rows):
                self.add(module, "forward", block_forward(module, rows, self.weight, prompts))
        for layer in replaced(denoiser, rows):
            self.add(layer, "forward", self._forward(layer))

    def __bool__(self) -> bool:
        """Whether there is anything to replace."""
        return bool(self._planned)

    @property
    def size(self) -> int:
        """Bytes on the device."""
        kept = [
            part for it in (self._weights, self._joined) for rows in it.values() for part in rows
        ]
        storages = {it.untyped_storage().data_ptr(): it.untyped_storage() for it in kept}
        return sum(it.nbytes() for it in storages.values())

    def weight(self, *layers: nn.Linear) -> Rows:
        """The weights in 8 bit, of several layers one below the other."""
        if len(layers) == 1:
            found = self._weights.get(layers[0])
            if found is None:
                found = self._weights[layers[0]] = self._scaled(layers[0])
            return found
        joined = self._joined.get(layers[0])
        if joined is None:
            parts = [self._scaled(it) for it in layers]
            values, scales = (torch.cat(it) for it in zip(*parts, strict=True))
            joined = self._joined[layers[0]] = Rows(values, scales)
            start = 0
            for layer in layers:
                end = start + layer.out_features
                # The same memory for whoever asks for one of them; what a graph may know already stays.
                self._weights.setdefault(layer, Rows(values[start:end], scales[start:end]))
                start = end
        return joined

    def _scaled(self, layer: nn.Linear) -> Rows:
        with torch.no_grad():
            return self._weights.get(layer) or self.rows.scaled(layer.weight.contiguous())

    def _forward(self, layer: nn.Linear) -> Function:
        rows = self.rows

        def forward(x: torch.Tensor) -> torch.Tensor:
            if x.ndim < 3 or x.shape[-2] < rows.least_tokens:
                return functional.linear(x, layer.weight, layer.bias)
            given = rows.scaled(x.reshape(-1, x.shape[-1]).contiguous())
            y = rows.product(given, self.weight(layer), layer.bias, x.dtype)
            return y.view(*x.shape[:-1], -1)

        return forward


def replaced(denoiser: nn.Module, rows: RowOperations) -> Iterator[nn.Linear]:
    """The layers that may be in 8 bit: inside a repeated block, below attention or feed-forward, no adapter's."""
    for name, module in denoiser.named_modules():
        if type(module) is nn.Linear and is_free(module) and fits(module, rows):
            parts = name.split(".")
            blocks = [k for k, part in enumerate(parts) if part in _BLOCKS]
            inside = set(parts[blocks[-1] + 2 :]) if blocks else set()
            if inside & _INSIDE and not any(part.startswith("lora_") for part in inside):
                yield module
