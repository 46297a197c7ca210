"""Stable Diffusion XL without its refiner, and its inpainting checkpoints.

Source: Podell et al., "SDXL: Improving Latent Diffusion Models for High-Resolution Image Synthesis", arXiv:2307.01952.
"""

from __future__ import annotations

from typing import Any

from core_server.pipelines.families.family import (
    Defaults,
    Family,
    LatentSpace,
    Looks,
    Seamless,
    TaskPipeline,
)
from core_server.pipelines.families.stable_diffusion import NEEDS_A_PICTURE, is_inpaint
from core_server.pipelines.schedulers import DIFFUSION_SCHEDULERS

_TASKS = {
    "text_to_image": TaskPipeline("StableDiffusionXLPipeline"),
    "image_to_image": TaskPipeline("StableDiffusionXLImg2ImgPipeline"),
    "inpaint": TaskPipeline("StableDiffusionXLInpaintPipeline"),
}
_COMMON: dict[str, Any] = {
    "adapters": "stable_diffusion_xl",
    "schedulers": DIFFUSION_SCHEDULERS,
    "latent_space": LatentSpace.SCALED,
    "seamless": Seamless.CIRCULAR,
    "license": "CreativeML-OpenRAIL++-M",
    "commercial_use": True,
    "denoiser": "unet",
    "text_encoders": ("text_encoder", "text_encoder_2"),
    "tokenizers": ("tokenizer", "tokenizer_2"),
    "dropped": ("image_encoder", "feature_extractor"),
    "min_side": 512,
    "max_side": 1536,
    "patch": 1,
    "half": "float16",
    "control": "ControlNetModel",
    "looks": Looks.ADAPTER,
    "upcasts_vae": True,
    # The stock watermark is a fixed message in every picture; marking pictures is the server's own business.
    "pipeline_options": {"add_watermarker": False},
    "defaults": lambda _index, _denoiser: Defaults(25, 7.0),
    "other_classes": tuple(task.class_name for task in _TASKS.values()),
}

STABLE_DIFFUSION_XL = Family(
    name="stable_diffusion_xl",
    title="Stable Diffusion XL",
    tasks=_TASKS,
    original="stabilityai/stable-diffusion-xl-base-1.0",
    matches=lambda denoiser: not is_inpaint(denoiser),
    **_COMMON,
)
STABLE_DIFFUSION_XL_INPAINT = Family(
    name="stable_diffusion_xl_inpaint",
    title="Stable Diffusion XL inpainting",
    tasks={"inpaint": _TASKS["inpaint"]},
    refused=dict.fromkeys(("text_to_image", "image_to_image"), NEEDS_A_PICTURE),
    original="diffusers/stable-diffusion-xl-1.0-inpainting-0.1",
    matches=is_inpaint,
    **_COMMON,
)
