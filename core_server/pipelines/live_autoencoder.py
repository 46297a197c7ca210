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
from core_server.errors import ModelLoadFailed
from core_server.pipelines.model import LoadedModel
from core_server.pipelines.seamless import seamless
from core_server.pipelines.sources.weights import read_header
from core_server.pipelines.tiers.graphs import GraphedNetwork

FOLDER = "tiny_vae"
TINY_NOTE = "the canvas and its picture went through the model's tiny autoencoder"


class LiveAutoencoder:
    """For one loaded model. Errors: ModelLoadFailed for a tiny autoencoder that is damaged or of another family."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._tiny = _read_tiny(model)
        backend = None if self._tiny is None else model.workshop.backend
        self._graphs = None if backend is None else GraphedNetwork(backend)

    @property
    def notes(self) -> tuple[str, ...]:
        """For the artist."""
        return () if self._tiny is None else (TINY_NOTE,)

    def encode(self, pixels: torch.Tensor, seed: int, axes: SeamlessAxes) -> torch.Tensor:
        """The latents of a picture as the denoiser sees them, in single precision.

        pixels: (1, 3, height, width) sRGB -1..1 on the device.

        What an autoencoder draws is drawn from the same seed each time, so that nothing flickers.
        """
        model = self._model
        if self._tiny is not None:
            return self._by_tiny(self._tiny.encoder, pixels, axes).float()
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

    def decode(
        self, latents: torch.Tensor, extent: Extent, axes: SeamlessAxes
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(height, width, 3) float32 sRGB 0..1 on the device, and whether all numbers are finite, for `need_finite`."""
        if self._tiny is None:
            return self._model.decoded(latents, extent)
        image = self._by_tiny(self._tiny.decoder, latents, axes)[0]
        finite = torch.isfinite(image).all()
        return (image.permute(1, 2, 0) * 0.5 + 0.5).clamp(0, 1).float(), finite

    def _by_tiny(self, network: Any, given: torch.Tensor, axes: SeamlessAxes) -> torch.Tensor:
        """One half of the tiny autoencoder; by a graph where the device has them."""
        given = given.to(self._tiny.dtype)
        with seamless(axes, self._tiny):
            if self._graphs is None:
                found: torch.Tensor = network(given)
            else:
                which = network is self._tiny.encoder
                found = self._graphs.call(network, (which, axes), (given,), {})
        return found


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
