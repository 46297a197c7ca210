"""Our Triton kernel for the normalisation of tokens, which also adds the next bias of a transformer's sum.

Source of the arithmetic: Ba et al., "Layer Normalization", arXiv:1607.06450, eq. 3; sums are in single precision.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from core_server.pipelines.tiers.operations import TorchOperations

_TOKEN_ELEMENTS = 2048
"""Of a program that normalises rows of tokens."""
_MOST = 2**31
"""Elements that 32 bits count."""


@triton.jit(do_not_specialize=["rows", "has_added"])
def _token_norm(
    x, weight, bias, added, y, total, rows, width, has_added, epsilon,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """y = layer_norm(x); total = x + added."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, COLUMNS)
    inside = column < width
    mask = (row < rows)[:, None] & inside[None, :]
    at = row[:, None] * width + column[None, :]
    value = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
    scale = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    base = tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    more = tl.zeros((COLUMNS,), tl.float32)
    if has_added != 0:
        more += tl.load(added + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(total + at, (value + more[None, :]).to(total.dtype.element_ty), mask=mask)
    mean = tl.sum(value, axis=1) / width
    value = tl.where(mask, value - mean[:, None], 0.0)
    inverse = 1.0 / tl.sqrt(tl.sum(value * value, axis=1) / width + epsilon)
    value = value * inverse[:, None] * scale[None, :] + base[None, :]
    tl.store(y + at, value.to(y.dtype.element_ty), mask=mask)


def layer_norm(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    epsilon: float,
    added: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """layer_norm(x), and x + added in memory of its own. x: (..., width); weight, bias, added: (width,), or None."""
    width = x.shape[-1]
    columns = max(256, triton.next_power_of_2(width))
    if columns > _TOKEN_ELEMENTS or x.numel() >= _MOST:
        return TorchOperations().layer_norm(x, weight, bias, epsilon, added)
    x = x.contiguous()
    y, total = torch.empty_like(x), torch.empty_like(x)
    given: Any = x if added is None else added
    at_once = _TOKEN_ELEMENTS // columns
    rows = x.numel() // width
    _token_norm[(triton.cdiv(rows, at_once),)](
        x, weight, bias, given, y, total, rows, width, int(added is not None), epsilon,
        ROWS=at_once, COLUMNS=columns,
    )  # fmt: skip
    return y, total
