"""What encodes and decodes live: the model's own autoencoder, or a tiny one that lies in its folder.

A tiny autoencoder (TAESD and its like, diffusers' `AutoencoderTiny`) works on the same latents in a fraction of the
time. It is used where somebody has put one into the model's folder as `tiny_vae`; nothing is fetched.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from typing import Any

import torch
from diffusers import AutoencoderTiny

from core_server.canvas.geometry import Extent
from core_server.canvas.plan import SeamlessAxes
from core_server.errors import ModelLoadFailed, on_one_line
from core_server.pipelines.live_tiny import Convolutions, CudnnConvolutions, fused
from core_server.pipelines.model import LoadedModel
from core_server.pipelines.seamless import seamless
from core_server.pipelines.sources.weights import read_header
from core_server.pipelines.tiers.graphs import GraphedNetwork, is_close
from core_server.pipelines.tiers.kernels import channels_last
from core_server.pipelines.tiers.model_tiers import KERNEL_TOLERANCE

log = logging.getLogger(__name__)

Half = Callable[[torch.Tensor], torch.Tensor]

FOLDER = "tiny_vae"
TINY_NOTE = "the canvas and its picture went through the model's tiny autoencoder"


class LiveAutoencoder:
    """For one loaded model. Errors: ModelLoadFailed for a tiny autoencoder that is damaged or of another family."""

    def __init__(self, model: LoadedModel, convolutions: Convolutions | None = None) -> None:
        """convolutions: what computes a tiny autoencoder's; None: the fastest ones of the model's device."""
        self._model = model
        self._tiny = _read_tiny(model)
        backend = None if self._tiny is None else model.workshop.backend
        self._graphs = None if backend is None else GraphedNetwork(backend)
        self._halves: dict[bool, Half] = {}
        convolutions = convolutions or _fused_here(model)
        if self._tiny is not None and convolutions is not None:
            channels_last(self._tiny)
            for which, half in ((True, self._tiny.encoder), (False, self._tiny.decoder)):
                if (fast := _proven(half, convolutions)) is not None:
                    self._halves[which] = fast

    @property
    def notes(self) -> tuple[str, ...]:
        """For the artist."""
        return () if self._tiny is None else (TINY_NOTE,)

    @property
    def is_tiny(self) -> bool:
        """Whether it is a tiny one, by which encoding is cheap and draws nothing."""
        return self._tiny is not None

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._model.device

    @property
    def state(self) -> Hashable:
        """Equal for two calls only if the same weights, at the same addresses, act in the same way."""
        network = self._model.vae if self._tiny is None else self._tiny
        return (self.is_tiny, next(network.parameters()).data_ptr())

    def encode(
        self, pixels: torch.Tensor, seed: int, axes: SeamlessAxes, *, graphed: bool = True
    ) -> torch.Tensor:
        """The latents of a picture as the denoiser sees them, in single precision.

        pixels: (1, 3, height, width) sRGB -1..1 on the device. graphed: whether graphs may do it, which a graph of
        more than that must not hold.

        What an autoencoder draws is drawn from the same seed each time, so that nothing flickers.
        """
        model = self._model
        if self._tiny is not None:
            return self._by_tiny(self._tiny.encoder, pixels, axes, graphed).float()
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
        self, latents: torch.Tensor, extent: Extent, axes: SeamlessAxes, *, graphed: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(height, width, 3) float32 sRGB 0..1 on the device, and whether all numbers are finite, for `need_finite`."""
        if self._tiny is None:
            return self._model.decoded(latents, extent)
        image = self._by_tiny(self._tiny.decoder, latents, axes, graphed)[0]
        finite = torch.isfinite(image).all()
        return (image.permute(1, 2, 0) * 0.5 + 0.5).clamp(0, 1).float(), finite

    def _by_tiny(
        self, network: Any, given: torch.Tensor, axes: SeamlessAxes, graphed: bool
    ) -> torch.Tensor:
        """One half of the tiny autoencoder; by a graph where the device has them."""
        given = given.to(next(self._tiny.parameters()).dtype)
        which = network is self._tiny.encoder
        # What tiles hides the convolutions' own methods, which the fused ones do not call.
        half = self._halves.get(which, network) if axes is SeamlessAxes.NONE else network
        with seamless(axes, self._tiny):
            if self._graphs is None or not graphed:
                found: torch.Tensor = half(given)
            else:
                found = self._graphs.call(half, (which, axes), (given,), {})
        return found


def _fused_here(model: LoadedModel) -> Convolutions | None:
    """Where our kernels are on; half precision on NVIDIA's cards has them."""
    if (
        model.workshop.operations is None
        or model.device.type != "cuda"
        or torch.version.hip is not None
        or model.dtype not in (torch.float16, torch.bfloat16)
    ):
        return None
    return CudnnConvolutions()


@torch.no_grad()
def _proven(half: Any, convolutions: Convolutions) -> Half | None:
    """The half by these convolutions; None where they give other numbers, or none."""
    fast = fused(half, convolutions)
    if fast is None:
        return None
    weight = next(half.parameters())
    generator = torch.Generator().manual_seed(0)
    given = torch.rand((1, weight.shape[1], 64, 64), generator=generator)
    given = given.to(weight.device, weight.dtype)
    try:
        same = is_close(fast(given), half(given), KERNEL_TOLERANCE)
    except RuntimeError as error:
        log.warning("No fused convolutions here: %s", on_one_line(error, 200))
        return None
    return fast if same else None


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
            f"The tiny autoencoder {folder} could not be read: {on_one_line(error, 200)}",
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
