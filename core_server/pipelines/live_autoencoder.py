"""What encodes and decodes live: the model's own autoencoder, or a tiny one that lies in its folder.

A tiny autoencoder (TAESD and its like, diffusers' `AutoencoderTiny`) works on the same latents in a fraction of the
time. It is used where somebody has put one into the model's folder as `tiny_vae`; nothing is fetched.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderTiny

from core_server.canvas.geometry import Extent
from core_server.canvas.plan import SeamlessAxes
from core_server.errors import ModelLoadFailed, TaskFailed
from core_server.pipelines.denoise import as_tensor
from core_server.pipelines.model import FloatArray, LoadedModel
from core_server.pipelines.seamless import seamless
from core_server.pipelines.sources.weights import read_header

FOLDER = "tiny_vae"
TINY_NOTE = "the canvas and its picture went through the model's tiny autoencoder"


class LiveAutoencoder:
    """For one loaded model. Errors: ModelLoadFailed for a tiny autoencoder that is damaged or of another family."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._tiny = _read_tiny(model)

    @property
    def notes(self) -> tuple[str, ...]:
        """For the artist."""
        return () if self._tiny is None else (TINY_NOTE,)

    def encode(self, source: FloatArray, seed: int, axes: SeamlessAxes) -> torch.Tensor:
        """The latents of a picture, (height, width, 3) sRGB 0..1, as the denoiser sees them, in single precision.

        What an autoencoder draws is drawn from the same seed each time, so that nothing flickers.
        """
        model = self._model
        pixels = as_tensor(source * 2 - 1).to(model.device)
        if self._tiny is not None:
            with seamless(axes, self._tiny):
                latents: torch.Tensor = self._tiny.encode(pixels.to(self._tiny.dtype)).latents
                return latents.float()
        vae = model.vae
        upcast = model.decodes_upcast
        if upcast:
            vae.to(torch.float32)
        try:
            generator = torch.Generator("cpu").manual_seed(seed)
            return model.latents.encode(pixels.to(vae.dtype), generator).float()
        finally:
            if upcast:
                vae.to(torch.float16)

    def decode(self, latents: torch.Tensor, extent: Extent, axes: SeamlessAxes) -> FloatArray:
        """The reverse; at most 1 and at least 0. Errors: TaskFailed where the numbers are not finite."""
        if self._tiny is None:
            return self._model.decode(latents, extent)
        with seamless(axes, self._tiny):
            image = self._tiny.decode(latents.to(self._tiny.dtype), return_dict=False)[0]
        if not bool(torch.isfinite(image).all()):
            raise TaskFailed(
                "The model produced numbers that are not finite, so there is no picture; try a lower guidance_scale."
            )
        array = (image[0] * 0.5 + 0.5).clamp(0, 1).float().cpu()
        picture: FloatArray = array.permute(1, 2, 0).contiguous().numpy()
        return picture


def _read_tiny(model: LoadedModel) -> Any:
    folder = None if model.folder is None else model.folder / FOLDER
    if folder is None or not (folder / "config.json").is_file():
        return None
    try:
        for file in folder.glob("*.safetensors"):
            read_header(file)
        tiny = AutoencoderTiny.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, torch_dtype=model.dtype
        )
    except ModelLoadFailed:
        raise
    except Exception as error:  # diffusers raises whatever it likes
        raise ModelLoadFailed(
            f"The tiny autoencoder {folder} could not be read: {' '.join(str(error).split())[:200]}",
            model=model.profile.model_id,
        ) from error
    halvings = len(tiny.config.encoder_block_out_channels) - 1
    if (
        int(tiny.config.latent_channels) != model.latents.channels
        or 2**halvings != model.scale_factor
    ):
        raise ModelLoadFailed(
            f"The tiny autoencoder {folder} is another family's: it has {tiny.config.latent_channels} channels and "
            f"{2**halvings} px a latent, and the model {model.latents.channels} and {model.scale_factor}. Take it out.",
            model=model.profile.model_id,
        )
    return tiny.to(model.device).eval().requires_grad_(False)
