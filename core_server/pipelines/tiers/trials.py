"""Whether our kernels run on a device and compute what PyTorch computes. Trying them is also what compiles them."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from functools import partial
from importlib.util import find_spec

import torch

from core_server.errors import on_one_line
from core_server.pipelines.tiers.graphs import is_close
from core_server.pipelines.tiers.operations import Operations, TimeLayer, TorchOperations
from core_server.pipelines.tiers.side_branch import try_branch

log = logging.getLogger(__name__)

_COMPILERS = 8
"""Kernels that are compiled at a time."""
_TOLERANCE, _TOLERANCES = 2e-3, {torch.bfloat16: 1e-2}
"""Difference from PyTorch, relative."""

Trial = Callable[[Operations], list[torch.Tensor]]


def has_triton() -> bool:
    """Whether kernels can be written here."""
    return find_spec("triton") is not None


@functools.cache
def fast_operations(device: torch.device) -> Operations | None:
    """The kernels for a device, tried on it; None where there are none or they fail, and PyTorch does the work."""
    if device.type != "cuda" or not has_triton():
        return None
    try:
        from core_server.pipelines.tiers import triton_kernels  # noqa: PLC0415

        operations: Operations = triton_kernels
        with torch.cuda.device(device):
            agree = works(operations, device)
        try_branch(device)
    except Exception as error:  # noqa: BLE001  Triton raises whatever its compilers do
        log.warning("Our kernels do not run here: %s", on_one_line(error))
        return None
    return operations if agree else None


def works(operations: Operations, device: torch.device) -> bool:
    """Whether every operation gives what PyTorch gives, in both half precisions, small and large.

    It is also what compiles the kernels, once on a machine: those of Stable Diffusion's widths.
    """
    trials = list(_trials(device))
    agrees = partial(_agrees, operations, device)
    if device.type != "cuda":
        return all(agrees(trial) for trial in trials)

    def tried(trial: Trial) -> bool:
        with suppress(Exception):
            return agrees(trial)
        return False

    with ThreadPoolExecutor(_COMPILERS) as pool:  # several are compiled at a time
        found = list(pool.map(tried, trials))
    # What failed there is tried again, alone, where it is seen.
    return all(worked or agrees(trial) for worked, trial in zip(found, trials, strict=True))


def _trials(device: torch.device) -> Iterator[Trial]:
    half, wide = torch.float16, torch.bfloat16
    for channels, side, dtype in (
        (320, 8, half), (640, 8, half), (1280, 8, half), (2560, 8, half),
        (320, 40, half), (1280, 40, half), (320, 8, wide), (512, 40, wide),
    ):  # fmt: skip
        yield partial(_groups, device, channels, side, dtype)
    for widths, side, dtype in (
        ((1280, 1280), 8, half), ((1280, 640), 8, half), ((640, 320), 8, half),
        ((320, 320), 8, half), ((640, 320), 40, half),
        ((1280, 640), 8, wide), ((640, 320), 40, wide),
    ):  # fmt: skip
        yield partial(_joined, device, widths, side, dtype)
    for channels, dtype in ((320, half), (640, half), (1280, half), (320, wide)):
        yield partial(_tokens, device, channels, dtype)
    for dtype in (half, wide):
        for part in (_sums, _doubled, _gates, _times, _heads):
            yield partial(part, device, dtype)


def _groups(
    device: torch.device, channels: int, side: int, dtype: torch.dtype, by: Operations
) -> list[torch.Tensor]:
    noise = _noise(device, dtype)
    x, added = noise(2, channels, side, side), noise(2, channels)
    weight, bias = noise(channels), noise(channels)
    return [
        by.group_norm(x, 32, weight, bias, 1e-5, silu=silu, added=extra)
        for silu, extra in ((True, added), (True, added[:1]), (False, None))
    ]


def _joined(
    device: torch.device, widths: tuple[int, int], side: int, dtype: torch.dtype, by: Operations
) -> list[torch.Tensor]:
    noise = _noise(device, dtype)
    first, second = (noise(2, width, side, side) for width in widths)
    weight, bias = noise(sum(widths)), noise(sum(widths))
    return list(by.joined_norm((first, second), 32, weight, bias, 1e-5))


def _tokens(
    device: torch.device, channels: int, dtype: torch.dtype, by: Operations
) -> list[torch.Tensor]:
    noise = _noise(device, dtype)
    x, weight, bias, added = noise(2, 9, channels), *(noise(channels) for _ in range(3))
    return [
        *by.layer_norm(x, weight, bias, 1e-5, added),
        *by.layer_norm(x, weight, bias, 1e-5, None),
    ]


def _sums(device: torch.device, dtype: torch.dtype, by: Operations) -> list[torch.Tensor]:
    noise = _noise(device, dtype)
    x, h, bias = noise(2, 320, 9, 9), noise(2, 320, 9, 9), noise(320)
    last = h.contiguous(memory_format=torch.channels_last)
    return [by.added_up(x, h, bias), by.added_up(x, h, None), by.biased(last.clone(), bias)]


def _doubled(device: torch.device, dtype: torch.dtype, by: Operations) -> list[torch.Tensor]:
    return [by.doubled(_noise(device, dtype)(2, 320, 9, 7))]


def _gates(device: torch.device, dtype: torch.dtype, by: Operations) -> list[torch.Tensor]:
    return [by.geglu(_noise(device, dtype)(2, 9, 640))]


def _times(device: torch.device, dtype: torch.dtype, by: Operations) -> list[torch.Tensor]:
    noise = _noise(device, dtype)
    time, weight, bias, more = noise(2, 1280), noise(320, 1280) / 36, noise(320), noise(320)
    layers = [TimeLayer(weight, bias, more), TimeLayer(weight[:64], bias[:64], None)]
    return by.timed(time, layers)


def _heads(device: torch.device, dtype: torch.dtype, by: Operations) -> list[torch.Tensor]:
    noise = _noise(device, dtype)
    return [by.single_head(noise(128, 512), noise(128, 512), noise(128, 512))]


def _noise(device: torch.device, dtype: torch.dtype) -> Callable[..., torch.Tensor]:
    generator = torch.Generator(device).manual_seed(0)
    return lambda *shape: torch.randn(shape, generator=generator, device=device).to(dtype)


@torch.no_grad()
def _agrees(operations: Operations, device: torch.device, trial: Trial) -> bool:
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        pairs = zip(trial(operations), trial(TorchOperations()), strict=True)
        return all(is_close(a, b, _TOLERANCES.get(b.dtype, _TOLERANCE)) for a, b in pairs)
