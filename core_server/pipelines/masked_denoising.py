"""Repaint what a mask covers of a picture that has the model's own size already."""

from __future__ import annotations

import torch

from core_server.canvas.geometry import Extent
from core_server.canvas.plan import SeamlessAxes
from core_server.pipelines.control import stock_pipeline
from core_server.pipelines.denoise import as_tensor, denoise, resized
from core_server.pipelines.differential import StepMasks, is_hard
from core_server.pipelines.families.family import Route
from core_server.pipelines.families.stable_diffusion import INPAINT_CHANNELS
from core_server.pipelines.model import FloatArray, LoadedModel
from core_server.pipelines.progress import StepReporter
from core_server.pipelines.schedulers import has_clean_steps
from core_server.pipelines.seamless_vae import seamless_vae
from core_server.pipelines.settings import Settings
from core_server.pipelines.stepped_scheduler import noised


def inpaint_at_model_size(
    model: LoadedModel,
    settings: Settings,
    seed: int,
    *,
    image: FloatArray,
    mask: FloatArray,
    strength: float,
    axes: SeamlessAxes,
    reporter: StepReporter,
) -> FloatArray:
    """For a mask of 0 and 1 what the stock inpainting pipeline gives for the same picture and mask, bit for bit.

    image: (height, width, 3) float32 sRGB 0..1, already filled under the mask; mask: (height, width) 0..1; both at a
    size the model can do, and so is the result. A soft mask changes softly (`pipelines.differential`). The stock
    pipeline knows hard masks and denoisers with 4 and 9 input channels; all else goes through the stock image-to-image
    pipeline with the unmasked latents put back at each step. Denoisers with 9 channels are shown the mask and were
    trained on hard ones: theirs is cut at 0.5.
    """
    settings = settings.hiding(mask, image)
    shown_the_mask = int(getattr(model.denoiser.config, "in_channels", 0)) == INPAINT_CHANNELS
    soft = "image_to_image" in model.family.tasks and not is_hard(mask) and not shown_the_mask
    if soft or model.route("inpaint") is Route.MASKED_LATENTS:
        keep = MaskedDenoising(model, settings, seed, image=image, mask=mask, axes=axes)
        return denoise(
            "image_to_image",
            model,
            settings,
            seed,
            axes=axes,
            reporter=reporter,
            change=keep,
            image=as_tensor(image),
            strength=strength,
        )
    return denoise(
        "inpaint",
        model,
        settings,
        seed,
        axes=axes,
        reporter=reporter,
        image=as_tensor(image),
        mask_image=as_tensor(mask),
        width=image.shape[1],
        height=image.shape[0],
        strength=strength,
    )


class MaskedDenoising:
    """After each step, puts the original's latents, noised for the next step, back where they are not free.

    For hard masks the same blend as the stock inpainting pipeline makes for denoisers with 4 input channels. It draws
    the noise that the image-to-image pipeline itself starts from, so that inside and outside of the mask belong
    together.
    """

    def __init__(
        self,
        model: LoadedModel,
        settings: Settings,
        seed: int,
        *,
        image: FloatArray,
        mask: FloatArray,
        axes: SeamlessAxes,
    ) -> None:
        self._pipeline = stock_pipeline("image_to_image", model, settings)
        generator = torch.Generator("cpu").manual_seed(seed)
        painted = model.family.paints_at("image_to_image", image.shape[1], image.shape[0])
        image = resized(image, Extent(*painted), axes)
        control = settings.control
        cell = model.latents.cell
        for _ in range(0 if control is None else control.draws(model)):
            shape = (1, model.latents.channels, painted[1] // cell, painted[0] // cell)
            torch.randn(shape, generator=generator, dtype=model.vae.dtype)
        with torch.no_grad(), seamless_vae(axes, model.vae, model.scale_factor):
            pixels = self._pipeline.image_processor.preprocess(as_tensor(image))
            pixels = pixels.to(model.device, model.dtype)
            self._original = model.latents.encode(pixels, generator)
        self._noise = torch.randn(
            self._original.shape, generator=generator, dtype=self._original.dtype
        ).to(model.device)
        self._ends_clean = has_clean_steps(settings.scheduler)
        rows, columns = self._original.shape[-2:]
        self._masks = StepMasks(mask, (rows, columns))

    def __call__(self, index: int, latents: torch.Tensor) -> torch.Tensor:
        scheduler = self._pipeline.scheduler
        left = getattr(self._pipeline, "num_timesteps", len(scheduler.timesteps))
        # A consistency model's timesteps end with the clean picture's, which no step begins at.
        following = index if self._ends_clean else index + 1
        timesteps = scheduler.timesteps[-left:]
        original = self._original
        if following < len(timesteps):
            original = noised(scheduler, original, self._noise, timesteps[following][None])
        mask = self._masks.after(index, len(timesteps)).to(latents)
        blended: torch.Tensor = (1 - mask) * original + mask * latents
        return blended
