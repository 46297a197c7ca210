"""The fine detail of a drawing that an autoencoder drops, put back where the model has painted over that drawing.

Veins, grain and sharp edges are finer than a latent pixel. What the autoencoder makes of the drawing itself says which
of them are lost; with little noise on the drawing they still lie where they were.
"""

from __future__ import annotations

import numpy as np
import torch

from core_server.canvas.geometry import Extent
from core_server.canvas.plan import SeamlessAxes
from core_server.pipelines.control import stock_pipeline
from core_server.pipelines.denoise import tiling
from core_server.pipelines.model import FloatArray, LoadedModel
from core_server.pipelines.settings import Settings


@torch.no_grad()
def with_detail(  # noqa: PLR0917
    picture: FloatArray,
    drawn: torch.Tensor,
    share: float,
    model: LoadedModel,
    settings: Settings,
    axes: SeamlessAxes,
) -> FloatArray:
    """The picture with `share` of what the autoencoder drops of the drawing.

    picture: (height, width, 3) float32 sRGB 0..1 at model size; drawn: (1, 3, height, width), the same in tensor form.
    It is decoded once more; its encoding is the one that the picture started from. Errors: TaskFailed.
    """
    height, width = picture.shape[:2]
    processor = stock_pipeline("image_to_image", model, settings).image_processor
    pixels = processor.preprocess(drawn).to(model.device, model.dtype)
    how = (axes, model.tiers.kernels, getattr(model.vae, "use_tiling", False))
    extent = Extent(width, height)
    with tiling(axes, model, extent), model.encoded.used_by(model.vae, "encode", how):
        grid = model.latents.encode(pixels, torch.Generator("cpu").manual_seed(0))
        kept = model.decode(model.latents.from_grid(grid), extent)
    dropped = drawn[0].permute(1, 2, 0).numpy() - kept
    return np.asarray(np.clip(picture + share * dropped, 0, 1), np.float32)
