"""What JPEG does to a picture, as an augmentation: no codec, so that it runs batched on any device."""

from __future__ import annotations

import math

import torch

Tensor = torch.Tensor


def jpeg(x: Tensor, strength: Tensor) -> Tensor:
    """Quantise 8 x 8 cosine blocks as JPEG does, coarser for high frequencies.

    x: (B, 3, H, W) in [0, 1], sides multiples of 8; strength: (B, 1, 1, 1), 1 is about quality 25.
    """
    n, c, height, width = x.shape
    k = torch.arange(8, device=x.device, dtype=x.dtype)
    basis = torch.cos(math.pi * (2 * k[None] + 1) * k[:, None] / 16) * 0.5
    basis[0] /= math.sqrt(2)
    blocks = x.reshape(n, c, height // 8, 8, width // 8, 8)
    waves = torch.einsum("ui,vj,nchiwj->nchuwv", basis, basis, blocks)
    step = (0.06 + 0.05 * (k[:, None] + k[None]))[:, None, :] * strength[..., None, None]
    waves = (waves / step).round() * step
    back = torch.einsum("ui,vj,nchuwv->nchiwj", basis, basis, waves)
    return back.reshape(n, c, height, width)
