"""The operations that our kernels replace, and who does them: Triton on CUDA, PyTorch where a test compares."""

from __future__ import annotations

import functools
import importlib.util
import logging
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch.nn import functional

log = logging.getLogger(__name__)


class TimeLayer(NamedTuple):
    """What makes a block's share of a timestep's embedding. weight: (channels, length); bias, more: (channels,)."""

    weight: torch.Tensor
    bias: torch.Tensor
    more: torch.Tensor | None


class Operations(Protocol):
    """Pictures are (batch, channels, height, width); where it can, the result is channels last."""

    def group_norm(
        self,
        x: torch.Tensor,
        groups: int,
        weight: torch.Tensor,
        bias: torch.Tensor,
        epsilon: float,
        *,
        silu: bool = False,
        added: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """silu(group_norm(x + added)), or without the silu. added: None or (batch or 1, channels)."""

    def added_up(self, x: torch.Tensor, h: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """x + h + bias. bias: None or (channels,)."""

    def geglu(self, x: torch.Tensor) -> torch.Tensor:
        """a * gelu(b) where the last dimension of x is a, then b."""

    def doubled(self, x: torch.Tensor) -> torch.Tensor:
        """Each px four times: twice as high and wide."""

    def layer_norm(
        self,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        epsilon: float,
        added: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """layer_norm(x), and x + added in memory of its own. x: (..., width); added: None or (width,)."""

    def timed(self, time: torch.Tensor, layers: Sequence[TimeLayer]) -> list[torch.Tensor]:
        """silu(time) @ weight.T + bias + more for each of the layers, (batch, channels) each. time: (batch, length)."""


class TorchOperations:
    """By PyTorch alone, in any layout: what the kernels are measured against."""

    def group_norm(
        self,
        x: torch.Tensor,
        groups: int,
        weight: torch.Tensor,
        bias: torch.Tensor,
        epsilon: float,
        *,
        silu: bool = False,
        added: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """As the protocol says."""
        if added is not None:
            x = x + added[:, :, None, None]
        y = functional.group_norm(x, groups, weight, bias, epsilon)
        return functional.silu(y) if silu else y

    def added_up(self, x: torch.Tensor, h: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """As the protocol says."""
        return x + (h if bias is None else h + bias.view(1, -1, 1, 1))

    def geglu(self, x: torch.Tensor) -> torch.Tensor:
        """As the protocol says."""
        value, gate = x.chunk(2, dim=-1)
        return value * functional.gelu(gate)

    def doubled(self, x: torch.Tensor) -> torch.Tensor:
        """As the protocol says."""
        return functional.interpolate(x, scale_factor=2.0, mode="nearest")

    def layer_norm(
        self,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        epsilon: float,
        added: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As the protocol says."""
        y = functional.layer_norm(x, x.shape[-1:], weight, bias, epsilon)
        return y, x.clone() if added is None else x + added

    def timed(self, time: torch.Tensor, layers: Sequence[TimeLayer]) -> list[torch.Tensor]:
        """As the protocol says."""
        given = functional.silu(time)
        found = [functional.linear(given, it.weight, it.bias) for it in layers]
        return [y if it.more is None else y + it.more for y, it in zip(found, layers, strict=True)]


@functools.cache
def fast_operations(device: torch.device) -> Operations | None:
    """The kernels for a device, tried on it; None where there are none or they fail, and PyTorch does the work."""
    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return None
    try:
        from core_server.pipelines.tiers import triton_kernels  # noqa: PLC0415

        operations: Operations = triton_kernels
        with torch.cuda.device(device):
            agree = works(operations, device)
    except Exception as error:  # noqa: BLE001  Triton raises whatever its compilers do
        log.warning("Our kernels do not run here: %s", " ".join(str(error).split())[:300])
        return None
    return operations if agree else None


@torch.no_grad()
def works(operations: Operations, device: torch.device) -> bool:
    """Whether every operation gives what PyTorch gives, in both half precisions, small and large.

    It is also what compiles the kernels, once on a machine.
    """
    generator = torch.Generator(device).manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, device=device)

    stock = TorchOperations()
    pairs: list[tuple[torch.Tensor, torch.Tensor]] = []
    sides = ((8, torch.float16), (40, torch.float16), (80, torch.float16), (8, torch.bfloat16))
    for side, dtype in sides:
        x, h = (noise(2, 320, side, side).to(dtype) for _ in range(2))
        weight, bias, added = noise(320).to(dtype), noise(320).to(dtype), noise(2, 320).to(dtype)
        tokens, time = noise(2, side, 320).to(dtype), noise(2, 1280).to(dtype)
        for silu, extra in ((True, added), (True, added[:1]), (False, None)):
            ours, wanted = (
                it.group_norm(x, 32, weight, bias, 1e-5, silu=silu, added=extra)
                for it in (operations, stock)
            )
            pairs.append((ours, wanted))
        pairs.append((operations.added_up(x, h, bias), stock.added_up(x, h, bias)))
        pairs.append((operations.doubled(x), stock.doubled(x)))
        pairs.append((operations.geglu(x[..., :16]), stock.geglu(x[..., :16])))
        both = (it.layer_norm(tokens, weight, bias, 1e-5, bias) for it in (operations, stock))
        pairs.extend(zip(*both, strict=True))
        table = noise(320, 1280).to(dtype) / 1280**0.5
        layers = [TimeLayer(table, bias, weight), TimeLayer(table[:64], bias[:64], None)]
        timed = (it.timed(time, layers) for it in (operations, stock))
        pairs.extend(zip(*timed, strict=True))
    return all(_close(*pair) for pair in pairs)


def _close(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    difference = torch.linalg.vector_norm((found - wanted).float())
    tolerance = 1e-2 if wanted.dtype is torch.bfloat16 else 2e-3
    return bool(difference <= tolerance * torch.linalg.vector_norm(wanted.float()))
