"""The normalisation of two pictures as one, where it gives what the same kernels give for one picture.

Each kind is tried by itself before it is used, so that it cannot take the other kernels along.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import torch

from core_server.errors import on_one_line
from core_server.pipelines.tiers import triton_norms
from core_server.pipelines.tiers.graphs import is_close

log = logging.getLogger(__name__)

_TOLERANCE = 2e-3
_SIDES = {True: 8, False: 40}
"""Of the pictures that are tried, px; whether they are small."""


class _Kind(NamedTuple):
    """What kernels are compiled for, and more."""

    device: torch.device
    dtype: torch.dtype
    first: int
    second: int
    groups: int
    is_small: bool


_proven: dict[_Kind, bool] = {}


def joined_norm(
    pictures: tuple[torch.Tensor, torch.Tensor],
    groups: int,
    weight: torch.Tensor,
    bias: torch.Tensor,
    epsilon: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `operations.Operations` says; both results are channels last."""
    first, second = pictures
    channels, small = first.shape[1] + second.shape[1], triton_norms.is_small(first[0, 0].numel())
    kind = _Kind(first.device, first.dtype, first.shape[1], second.shape[1], groups, small)
    if triton_norms.fits(channels, groups) and _works(kind):
        return triton_norms.joined_norm(pictures, groups, weight, bias, epsilon)
    both = torch.cat(pictures, dim=1)
    return triton_norms.group_norm(both, groups, weight, bias, epsilon, silu=True), both


def _works(kind: _Kind) -> bool:
    found = _proven.get(kind)
    if found is None:
        if kind.device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            return False  # a trial waits for the device; it comes with a call that does not record
        try:
            found = _agrees(kind)
        except Exception as error:  # noqa: BLE001  whatever the compiler raises
            log.warning("Pictures are joined by PyTorch: %s", on_one_line(error))
            found = False
        _proven[kind] = found
    return found


@torch.no_grad()
def _agrees(kind: _Kind) -> bool:
    generator = torch.Generator(kind.device).manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        made = torch.randn(shape, generator=generator, device=kind.device)
        return made.to(kind.dtype)

    side, channels = _SIDES[kind.is_small], kind.first + kind.second
    pictures = noise(2, kind.first, side, side), noise(2, kind.second, side, side)
    weight, bias = noise(channels), noise(channels)
    normed, both = triton_norms.joined_norm(pictures, kind.groups, weight, bias, 1e-5)
    expected = torch.cat(pictures, dim=1)
    wanted = triton_norms.group_norm(expected, kind.groups, weight, bias, 1e-5, silu=True)
    return torch.equal(both, expected) and is_close(normed, wanted, _TOLERANCE)
