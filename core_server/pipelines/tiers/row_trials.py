"""Which kernels compute matrices in 8 bit on a device: tried on it and timed, once."""

from __future__ import annotations

import functools
import logging

import torch
from torch import nn

from core_server.errors import on_one_line
from core_server.pipelines import devices
from core_server.pipelines.tiers.graphs import is_close
from core_server.pipelines.tiers.scaled_rows import RowOperations, Rows, TorchRows
from core_server.pipelines.tiers.trials import has_triton

log = logging.getLogger(__name__)

FORMATS = {"fp8": torch.float8_e4m3fn, "int8": torch.int8}
NEEDED = {"fp8": (8, 9), "int8": (8, 0)}
"""Compute capability of CUDA devices whose matrix units have the format."""
_TOLERANCE = 0.01


class NoLowPrecision(Exception):
    """This device cannot do it; the text says why."""


def row_operations(device: torch.device, precision: str) -> RowOperations:
    """The fastest kernels for `precision` on `device`, tried on it once. Errors: NoLowPrecision."""
    lack = _lack(device, precision)
    if lack:
        raise NoLowPrecision(lack)
    fastest = _fastest(device, precision)
    if fastest is None:
        raise NoLowPrecision("its kernels do not run with this GPU's driver and this PyTorch")
    return fastest


def precisions_of(device: torch.device) -> tuple[str, ...]:
    """What `row_operations` can be asked for on this device; whether its kernels run is tried only then."""
    return tuple(precision for precision in FORMATS if not _lack(device, precision))


def _lack(device: torch.device, precision: str) -> str:
    """Why not, from what the device is; "" where nothing speaks against it."""
    if device.type != "cuda" or torch.version.hip is not None:
        return f"it needs an NVIDIA GPU, and this server computes on {device.type}"
    capability = torch.cuda.get_device_capability(device)
    if capability < NEEDED[precision]:
        needed, found = (".".join(map(str, it)) for it in (NEEDED[precision], capability))
        return f"the GPU must have compute capability {needed} or higher, and this one has {found}"
    return "" if has_triton() else "it needs Triton, which is not installed"


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
            log.warning("%s does not run here: %s", precision, on_one_line(error))
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
            same &= is_close(found[0], wanted[0], _TOLERANCE) and _same(found[1], wanted[1])
        same &= _same(rows.scaled(x), stock.scaled(x))
        for more in (None, long):
            same &= _same(*(it.gated(doubled, more) for it in (rows, stock)))
        for more in (None, noise(4 * width)):
            ours, theirs = (it.product(given, weight, more, dtype) for it in (rows, stock))
            same &= is_close(ours, theirs, _TOLERANCE)
    return same


def _same(found: Rows, wanted: Rows) -> bool:
    one, other = (it.values.float() * it.scales for it in (found, wanted))
    return is_close(one, other, _TOLERANCE)


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
