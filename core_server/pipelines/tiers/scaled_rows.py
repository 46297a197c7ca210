"""Matrices in 8 bit with a scale for each row: what the low precisions of a denoiser compute with, and who does it.

Weights have a scale for each output channel, activations one for each token, found anew at each call, so that what
shares a batch with a token changes nothing of it.
Source of the formats: Micikevicius et al. (2022), "FP8 formats for deep learning", arXiv:2209.05433 (E4M3); of scales
by token and channel: Xiao et al. (2023), "SmoothQuant", arXiv:2211.10438, section 2.

Why not torchao, which has the same arithmetic: by its own figures it is no faster than half precision until
`torch.compile` has fused what surrounds the products, for which nobody here is to wait. These kernels are fused as
they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch.nn import functional

LARGEST = {torch.float8_e4m3fn: 448.0, torch.int8: 127.0}
"""Greatest magnitude of the formats; int8 is used symmetrically."""
TINY = 1e-12
"""Rows whose greatest magnitude is less are as good as zero."""


class Rows(NamedTuple):
    """The matrix values * scales. values: (rows, columns), 8 bit, contiguous; scales: (rows, 1) float32, above 0."""

    values: torch.Tensor
    scales: torch.Tensor


class RowOperations(Protocol):
    """All matrices are (rows, columns); half precision or float32, with float32 sums. x and added: contiguous."""

    @property
    def dtype(self) -> torch.dtype:
        """Of `Rows.values`: float8_e4m3fn or int8."""

    @property
    def least_tokens(self) -> int:
        """Of fewer tokens a picture products are no faster in 8 bit."""

    @property
    def multiple(self) -> int:
        """The columns of matrices that are multiplied are a multiple of it, and so are an output's."""

    def scaled(self, x: torch.Tensor) -> Rows:
        """x in 8 bit."""

    def normed(
        self,
        x: torch.Tensor,
        added: torch.Tensor | None,
        bias: torch.Tensor | None,
        norm: torch.nn.LayerNorm,
    ) -> tuple[torch.Tensor, Rows]:
        """s = x + (added + bias), as x; and norm(s) in 8 bit. Without `added`, s is x. bias: (columns,)."""

    def gated(self, x: torch.Tensor, bias: torch.Tensor | None) -> Rows:
        """a * gelu(b) in 8 bit, where a row of x + bias is a, then b."""

    def product(
        self, x: Rows, weight: Rows, bias: torch.Tensor | None, dtype: torch.dtype
    ) -> torch.Tensor:
        """x times weight transposed, plus bias: (rows of x, rows of weight), dtype."""


@dataclass(frozen=True)
class TorchRows:
    """By PyTorch alone, on any device: what kernels are measured against. Slower than no low precision at all."""

    dtype: torch.dtype
    least_tokens: int = 1
    multiple: int = 1

    def scaled(self, x: torch.Tensor) -> Rows:
        """As the protocol says."""
        x = x.float()
        greatest = x.abs().amax(-1, keepdim=True).clamp_min(TINY)
        y = x * (LARGEST[self.dtype] / greatest)
        if self.dtype is torch.int8:
            y = (y + 0.5).floor()
        return Rows(y.to(self.dtype).contiguous(), greatest * (1.0 / LARGEST[self.dtype]))

    def normed(
        self,
        x: torch.Tensor,
        added: torch.Tensor | None,
        bias: torch.Tensor | None,
        norm: torch.nn.LayerNorm,
    ) -> tuple[torch.Tensor, Rows]:
        """As the protocol says."""
        if added is not None:
            total = x.float() + (added.float() if bias is None else added.float() + bias.float())
            x = total.to(x.dtype)
        weight, offset = (None if it is None else it.float() for it in (norm.weight, norm.bias))
        y = functional.layer_norm(x.float(), (x.shape[-1],), weight, offset, norm.eps)
        return x, self.scaled(y)

    def gated(self, x: torch.Tensor, bias: torch.Tensor | None) -> Rows:
        """As the protocol says. Source: Shazeer, arXiv:2002.05202."""
        whole = x.float() if bias is None else x.float() + bias.float()
        value, gate = whole.chunk(2, dim=-1)
        return self.scaled(value * functional.gelu(gate))

    def product(
        self, x: Rows, weight: Rows, bias: torch.Tensor | None, dtype: torch.dtype
    ) -> torch.Tensor:
        """As the protocol says."""
        y = x.values.float() @ weight.values.float().T * x.scales * weight.scales.T
        return (y if bias is None else y + bias.float()).to(dtype)
