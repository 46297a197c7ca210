"""Products of a denoiser's transformer blocks in 8 bit: faster with a named loss, off unless it is asked for.

What is in 8 bit are the linear layers of attention and feed-forward where a picture has many tokens. First and last
layers, embeddings of time and text, norms, modulation, convolutions and attention itself stay as they are loaded.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn import functional

from core_server.errors import InvalidRequest
from core_server.pipelines import devices
from core_server.pipelines.memory import Rung
from core_server.pipelines.overrides import Function, Overrides
from core_server.pipelines.tiers.kernels import is_free
from core_server.pipelines.tiers.low_precision_blocks import block_forward, fits, is_plain_block
from core_server.pipelines.tiers.prompt_features import PromptFeatures
from core_server.pipelines.tiers.scaled_rows import RowOperations, Rows, TorchRows

if TYPE_CHECKING:
    from core_server.pipelines.model import LoadedModel
    from core_server.pipelines.settings import Settings

log = logging.getLogger(__name__)

FORMATS = {"fp8": torch.float8_e4m3fn, "int8": torch.int8}
NEEDED = {"fp8": (8, 9), "int8": (8, 0)}
"""Compute capability of CUDA devices whose matrix units have the format."""
_LOSES_TOO_MUCH = ("sana", "sana_sprint")
"""Families: less than 40 dB between pictures in float32 and in fp8."""
_TOLERANCE = 0.01
_BLOCKS = ("transformer_blocks", "single_transformer_blocks", "layers")
_INSIDE = {
    "attn", "attn1", "attn2", "attention", "ff", "ff_context", "feed_forward", "mlp", "img_mlp", "txt_mlp",
    "proj_mlp", "proj_out",
}  # fmt: skip
"""Names below which layers of a numbered block may be in 8 bit."""


class NoLowPrecision(Exception):
    """This device cannot do it; the text says why."""


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
    if model.profile.family in _LOSES_TOO_MUCH:
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


def row_operations(device: torch.device, precision: str) -> RowOperations:
    """The fastest kernels for `precision` on `device`, tried on it once. Errors: NoLowPrecision."""
    if device.type != "cuda" or torch.version.hip is not None:
        raise NoLowPrecision(f"it needs an NVIDIA GPU, and this server computes on {device.type}")
    capability = torch.cuda.get_device_capability(device)
    if capability < NEEDED[precision]:
        needed, found = (".".join(map(str, it)) for it in (NEEDED[precision], capability))
        raise NoLowPrecision(
            f"the GPU must have compute capability {needed} or higher, and this one has {found}"
        )
    if importlib.util.find_spec("triton") is None:
        raise NoLowPrecision("it needs Triton, which is not installed")
    fastest = _fastest(device, precision)
    if fastest is None:
        raise NoLowPrecision("its kernels do not run with this GPU's driver and this PyTorch")
    return fastest


@functools.cache
def _fastest(device: torch.device, precision: str) -> RowOperations | None:
    """None where nothing works. Errors: torch.OutOfMemoryError."""
    from core_server.pipelines.tiers.triton_rows import TritonRows  # noqa: PLC0415

    dtype = FORMATS[precision]
    candidates = [TritonRows(dtype)]
    if precision == "fp8" and hasattr(torch, "_scaled_mm"):
        candidates.insert(0, TritonRows(dtype, scaled_mm=True))
    working: list[tuple[float, RowOperations]] = []
    for candidate in candidates:
        try:
            with torch.cuda.device(device):
                if works(candidate, device):
                    working.append((_seconds(candidate, device), candidate))
        except Exception as error:  # Triton raises whatever its compilers do
            if devices.is_out_of_memory(error):
                raise
            log.warning("%s does not run here: %s", precision, " ".join(str(error).split())[:300])
    return min(working, key=lambda it: it[0])[1] if working else None


@torch.no_grad()
def works(rows: RowOperations, device: torch.device) -> bool:
    """Whether every operation gives what PyTorch gives for the same numbers in 8 bit. Also what compiles kernels."""
    generator = torch.Generator(device).manual_seed(0)
    stock = TorchRows(rows.dtype)
    same = True
    for tokens, width, dtype in ((256, 640, torch.float16), (130, 320, torch.bfloat16)):

        def noise(*shape: int, dtype: torch.dtype = dtype) -> torch.Tensor:
            return torch.randn(shape, generator=generator, device=device).to(dtype)

        x, added, bias = noise(tokens, width), noise(tokens, width), noise(width)
        norm = nn.LayerNorm(width, device=device, dtype=dtype)
        given, weight = stock.scaled(x), stock.scaled(noise(4 * width, width))
        doubled, long = noise(tokens, 2 * width), noise(2 * width)
        for more in (None, bias):
            found, wanted = (it.normed(x, added, more, norm) for it in (rows, stock))
            same &= _close(found[0], wanted[0]) and _same(found[1], wanted[1])
        same &= _same(rows.scaled(x), stock.scaled(x))
        for more in (None, long):
            same &= _same(*(it.gated(doubled, more) for it in (rows, stock)))
        for more in (None, noise(4 * width)):
            same &= _close(*(it.product(given, weight, more, dtype) for it in (rows, stock)))
    return same


def _same(found: Rows, wanted: Rows) -> bool:
    return _close(*(it.values.float() * it.scales for it in (found, wanted)))


def _close(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    difference = torch.linalg.vector_norm((found - wanted).float())
    return bool(difference <= _TOLERANCE * torch.linalg.vector_norm(wanted.float()))


_SHAPES = ((2048, 1280, 10240), (2048, 1280, 1280), (2048, 5120, 1280), (8192, 640, 1920))
"""(tokens, columns, output channels): SDXL's at 1024 px."""
_REPEATS = 10


@torch.no_grad()
def _seconds(rows: RowOperations, device: torch.device) -> float:
    """Of products, as a graph calls them: launching takes longer than most of them."""
    products = []
    for tokens, columns, width in _SHAPES:
        given = rows.scaled(torch.randn(tokens, columns, device=device, dtype=torch.float16))
        weight = rows.scaled(torch.randn(width, columns, device=device, dtype=torch.float16))
        products.append((given, weight))
        rows.product(given, weight, None, torch.float16)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        for given, weight in products:
            for _ in range(_REPEATS):
                rows.product(given, weight, None, torch.float16)
    start, end = torch.cuda.Event(True), torch.cuda.Event(True)  # type: ignore[no-untyped-call]
    graph.replay()
    start.record()
    graph.replay()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1000
