"""From noise or a picture to a picture: the one place that calls a stock diffusers pipeline."""

from __future__ import annotations

from typing import Any

import torch

from core_server.canvas.plan import SeamlessAxes
from core_server.pipelines.model import FloatArray, LoadedModel
from core_server.pipelines.progress import LatentsHook, StepReporter
from core_server.pipelines.seamless import seamless
from core_server.pipelines.settings import Settings


def denoise(
    task: str,
    model: LoadedModel,
    settings: Settings,
    seed: int,
    *,
    axes: SeamlessAxes,
    reporter: StepReporter,
    change: LatentsHook | None = None,
    **inputs: Any,
) -> FloatArray:
    """What the stock pipeline gives for a generator on the CPU, bit for bit, if nothing is changed.

    task: "text_to_image", "image_to_image" or "inpaint". inputs: what only this task's pipeline takes, such as width,
    image and strength. change: sees, and may replace, the latents after each step. Returns (height, width, 3) float32
    sRGB 0..1 at model size. Decoding is a step of its own, so that cancelling works before it.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    pipeline = model.pipeline(task, settings.scheduler)
    reporter.begin()
    with seamless(axes, model.unet, model.vae):
        latents = pipeline(
            settings.prompt,
            negative_prompt=settings.negative_prompt or None,
            num_inference_steps=settings.num_inference_steps,
            guidance_scale=settings.guidance_scale,
            generator=generator,
            output_type="latent",
            callback_on_step_end=reporter.step_hook(change),
            **inputs,
        ).images
        reporter.picture_done()
        reporter.stage("Decoding")
        return model.decode(latents, generator)


def as_tensor(image: FloatArray) -> torch.Tensor:
    """(height, width) or (height, width, channels) to (1, channels, height, width).

    A view with channels last in memory, as diffusers itself turns a PIL picture into a tensor: convolutions choose
    their algorithm by the layout, and another layout gives other last bits.
    """
    return torch.from_numpy(image.reshape(1, *image.shape[:2], -1).transpose(0, 3, 1, 2))
