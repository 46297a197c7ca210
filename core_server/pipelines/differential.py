"""Differential diffusion: a soft mask is a soft change. Source: Levin and Fried 2023, arXiv:2306.00950.

A mask value m is a strength of its own: of n steps a latent is denoised in the last floor(n m) ones, as image-to-image
with strength m would do it, and until then it follows the original, noised for the step at hand. So the mask is
thresholded anew at each step: only what is to change wholly is free at the first one.
"""

from __future__ import annotations

import numpy as np
import torch

from core_server.pipelines.model import FloatArray

_ROUNDING = 1e-4
"""Of a step: what float32 may lack of a whole number of them."""


def is_hard(mask: FloatArray) -> bool:
    """Whether a mask, 0..1, says only yes or no, so that one threshold serves all steps."""
    return bool(((mask == 0) | (mask == 1)).all())


class StepMasks:
    """Which latents are free after each step. mask: (height, width) 0..1 in model px; size: (rows, columns) of latents.

    A hard mask is taken as stock inpainting takes it: by the nearest px. A soft one is averaged over the px of each
    latent.
    """

    def __init__(self, mask: FloatArray, size: tuple[int, int]) -> None:
        self.hard = is_hard(mask)
        pixels = torch.from_numpy(np.ascontiguousarray(mask, np.float32))[None, None]
        if self.hard:
            self._share = torch.nn.functional.interpolate((pixels >= 0.5).float(), size=size)
        else:
            self._share = torch.nn.functional.adaptive_avg_pool2d(pixels, size)

    def after(self, index: int, steps: int) -> torch.Tensor:
        """(1, 1, rows, columns), 1 where the result of step `index` stays, 0 where the original takes its place.

        After the last step that is what was free in it, so that what no step changed is the original exactly.
        """
        coming = min(index + 1, steps - 1)
        free = torch.floor(self._share * steps + _ROUNDING) >= steps - coming
        return free.float()
