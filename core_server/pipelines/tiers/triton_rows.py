"""Our Triton kernels for matrices in 8 bit with a scale for each row. Imported only where Triton is.

Each kernel that ends in 8 bit reads its input once: a program has a whole row in its registers, finds its greatest
magnitude and writes the row scaled.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from core_server.pipelines.tiers.scaled_rows import LARGEST, TINY, Rows


@triton.jit
def _stored(value, greatest, at, y, mask, LARGEST: tl.constexpr):
    """Of a row, scaled so that its greatest magnitude is the format's."""
    value = value * (LARGEST / greatest)
    if y.dtype.element_ty == tl.int8:
        value = tl.floor(value + 0.5)
    tl.store(y + at, value.to(y.dtype.element_ty), mask=mask)


@triton.jit
def _scaled(
    x, y, scales, columns, LARGEST: tl.constexpr, TINY: tl.constexpr, SIZE: tl.constexpr
):  # fmt: skip
    row = tl.program_id(0)
    column = tl.arange(0, SIZE)
    mask = column < columns
    at = row.to(tl.int64) * columns + column
    value = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
    greatest = tl.maximum(tl.max(tl.abs(value), axis=0), TINY)
    tl.store(scales + row, greatest * (1.0 / LARGEST))
    _stored(value, greatest, at, y, mask, LARGEST)


@triton.jit
def _normed(
    x, added, bias, weight, offset, total, y, scales, columns, epsilon,
    HAS_ADDED: tl.constexpr, HAS_BIAS: tl.constexpr,
    LARGEST: tl.constexpr, TINY: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    """total = x + (added + bias); y is its layer norm, scaled."""
    row = tl.program_id(0)
    column = tl.arange(0, SIZE)
    mask = column < columns
    at = row.to(tl.int64) * columns + column
    value = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
    if HAS_ADDED:
        more = tl.load(added + at, mask=mask, other=0.0).to(tl.float32)
        if HAS_BIAS:
            more += tl.load(bias + column, mask=mask, other=0.0).to(tl.float32)
        rounded = (value + more).to(total.dtype.element_ty)
        tl.store(total + at, rounded, mask=mask)
        value = rounded.to(tl.float32)
    mean = tl.sum(value, axis=0) / columns
    centred = tl.where(mask, value - mean, 0.0)
    variance = tl.sum(centred * centred, axis=0) / columns
    scale = tl.load(weight + column, mask=mask, other=0.0).to(tl.float32)
    shift = tl.load(offset + column, mask=mask, other=0.0).to(tl.float32)
    value = centred * (1.0 / tl.sqrt(variance + epsilon)) * scale + shift
    greatest = tl.maximum(tl.max(tl.abs(value), axis=0), TINY)
    tl.store(scales + row, greatest * (1.0 / LARGEST))
    _stored(value, greatest, at, y, mask, LARGEST)


@triton.jit
def _gate(x, bias, start, column, columns, mask, HAS_BIAS: tl.constexpr):
    """a * gelu(b) = a * b * cdf(b), where cdf is the normal distribution's, as 1/2 + b times an even polynomial of b
    (least maximum, our own fit, 0 and 1 from 4.25 on); within 6e-5, less than half precision can tell."""
    value = tl.load(x + start + column, mask=mask, other=0.0).to(tl.float32)
    gate = tl.load(x + start + columns + column, mask=mask, other=0.0).to(tl.float32)
    if HAS_BIAS:
        value += tl.load(bias + column, mask=mask, other=0.0).to(tl.float32)
        gate += tl.load(bias + columns + column, mask=mask, other=0.0).to(tl.float32)
    b = tl.minimum(tl.maximum(gate, -4.25), 4.25)
    s = b * b
    series = 6.01299545e-11
    series = series * s - 5.68511623e-09
    series = series * s + 2.37371735e-07
    series = series * s - 5.83648317e-06
    series = series * s + 9.55764136e-05
    series = series * s - 0.00112142965
    series = series * s + 0.00985821927
    series = series * s - 0.0664110806
    series = series * s + 0.398937785
    return value * gate * (0.5 + b * series)


@triton.jit
def _gated(
    x, bias, y, scales, columns, HAS_BIAS: tl.constexpr,
    LARGEST: tl.constexpr, TINY: tl.constexpr, SIZE: tl.constexpr, REST: tl.constexpr,
):  # fmt: skip
    """A row of 1280 k columns in two parts of 1024 k and 256 k, since blocks are powers of two; REST: 0 for one."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, SIZE)
    mask = column < columns
    value = _gate(x, bias, row * 2 * columns, column, columns, mask, HAS_BIAS)
    greatest = tl.maximum(tl.max(tl.abs(value), axis=0), TINY)
    if REST > 0:
        other_column = SIZE + tl.arange(0, REST)
        other_mask = other_column < columns
        other = _gate(x, bias, row * 2 * columns, other_column, columns, other_mask, HAS_BIAS)
        greatest = tl.maximum(tl.max(tl.abs(other), axis=0), greatest)
        _stored(other, greatest, row * columns + other_column, y, other_mask, LARGEST)
    tl.store(scales + row, greatest * (1.0 / LARGEST))
    _stored(value, greatest, row * columns + column, y, mask, LARGEST)


@triton.jit
def _product(
    a, b, scale_a, scale_b, bias, c, rows, columns, inner,
    HAS_BIAS: tl.constexpr, IS_INTEGER: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, INNER: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """c = (a times b transposed) * scale_a * scale_b + bias, tiles in groups of rows that share what they read."""
    tile = tl.program_id(0)
    down, across = tl.cdiv(rows, ROWS), tl.cdiv(columns, COLUMNS)
    first = tile // (GROUP * across) * GROUP
    high = tl.minimum(down - first, GROUP)
    inside = tile % (GROUP * across)
    row = (first + inside % high) * ROWS + tl.arange(0, ROWS)
    column = inside // high * COLUMNS + tl.arange(0, COLUMNS)
    k = tl.arange(0, INNER)
    from_a = a + (row % rows)[:, None] * inner + k[None, :]
    from_b = b + (column % columns)[None, :] * inner + k[:, None]
    total = tl.zeros((ROWS, COLUMNS), tl.int32 if IS_INTEGER else tl.float32)
    for _ in range(0, inner, INNER):
        total = tl.dot(tl.load(from_a), tl.load(from_b), total, out_dtype=total.dtype)
        from_a += INNER
        from_b += INNER
    scale = tl.load(scale_a + row % rows)[:, None] * tl.load(scale_b + column % columns)[None, :]
    value = total.to(tl.float32) * scale
    if HAS_BIAS:
        value += tl.load(bias + column % columns).to(tl.float32)[None, :]
    to = c + row.to(tl.int64)[:, None] * columns + column[None, :]
    mask = (row < rows)[:, None] & (column < columns)[None, :]
    tl.store(to, value.to(c.dtype.element_ty), mask=mask)


class TritonRows:
    """`RowOperations` on a CUDA device. scaled_mm: products by PyTorch's own kernels where they are faster."""

    least_tokens = 128
    multiple = 64

    def __init__(self, dtype: torch.dtype, *, scaled_mm: bool = False) -> None:
        self.dtype = dtype
        self._scaled_mm = scaled_mm
        self._format: dict[str, Any] = {"LARGEST": LARGEST[dtype], "TINY": TINY}

    def scaled(self, x: torch.Tensor) -> Rows:
        """As the protocol says."""
        found = self._empty(x, x.shape[1])
        _scaled[(x.shape[0],)](x, *found, x.shape[1], **self._whole_row(x.shape[1]))
        return found

    def normed(
        self,
        x: torch.Tensor,
        added: torch.Tensor | None,
        bias: torch.Tensor | None,
        norm: torch.nn.LayerNorm,
    ) -> tuple[torch.Tensor, Rows]:
        """As the protocol says."""
        found = self._empty(x, x.shape[1])
        total = x if added is None else torch.empty_like(x)
        _normed[(x.shape[0],)](
            x, x if added is None else added, x if bias is None else bias,
            norm.weight, norm.bias, total, *found, x.shape[1], norm.eps,
            HAS_ADDED=added is not None, HAS_BIAS=bias is not None,
            **self._whole_row(x.shape[1]),
        )  # fmt: skip
        return total, found

    def gated(self, x: torch.Tensor, bias: torch.Tensor | None) -> Rows:
        """As the protocol says."""
        columns = x.shape[1] // 2
        found = self._empty(x, columns)
        whole = triton.next_power_of_2(columns)
        size = whole if whole == columns else whole // 2
        rest = 0 if whole == columns else triton.next_power_of_2(columns - size)
        _gated[(x.shape[0],)](
            x, x if bias is None else bias, *found, columns, HAS_BIAS=bias is not None,
            SIZE=size, REST=rest, num_warps=4 if size < 2048 else 8, **self._format,
        )  # fmt: skip
        return found

    def product(
        self, x: Rows, weight: Rows, bias: torch.Tensor | None, dtype: torch.dtype
    ) -> torch.Tensor:
        """As the protocol says."""
        if self._scaled_mm:
            return torch._scaled_mm(
                x.values, weight.values.t(), x.scales, weight.scales.t(), bias,
                out_dtype=dtype, use_fast_accum=True,
            )  # fmt: skip
        rows, columns, inner = x.values.shape[0], weight.values.shape[0], x.values.shape[1]
        y = torch.empty((rows, columns), dtype=dtype, device=x.values.device)
        tile = _tile(rows, columns, inner)
        grid = (triton.cdiv(rows, tile["ROWS"]) * triton.cdiv(columns, tile["COLUMNS"]),)
        _product[grid](
            x.values, weight.values, x.scales, weight.scales, y if bias is None else bias, y,
            rows, columns, inner,
            HAS_BIAS=bias is not None, IS_INTEGER=self.dtype is torch.int8, GROUP=8, **tile,
        )  # fmt: skip
        return y

    def _empty(self, like: torch.Tensor, columns: int) -> Rows:
        values = torch.empty((like.shape[0], columns), dtype=self.dtype, device=like.device)
        scales = torch.empty((like.shape[0], 1), dtype=torch.float32, device=like.device)
        return Rows(values, scales)

    def _whole_row(self, columns: int) -> dict[str, Any]:
        size = triton.next_power_of_2(columns)
        return {**self._format, "SIZE": size, "num_warps": 4 if size <= 2048 else 8}


def _tile(rows: int, columns: int, inner: int) -> dict[str, int]:
    """Small ones where large ones would not occupy the device."""
    INNER = 128 if inner % 128 == 0 else 64  # noqa: N806  the kernel's
    if rows * columns >= 2048 * 2560:
        return {"ROWS": 128, "COLUMNS": 128, "INNER": INNER, "num_warps": 8, "num_stages": 3}
    return {"ROWS": 128, "COLUMNS": 64, "INNER": INNER, "num_warps": 4, "num_stages": 4}
