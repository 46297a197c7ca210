"""Qwen-Image, Qwen-Image-Edit, and Qwen-Image-Edit Plus (2509 and later), which reads several pictures.

Source: Wu et al., "Qwen-Image Technical Report", arXiv:2508.02324. The edit models read each picture twice, through the
vision part of their text encoder and as latents beside those that they paint. For Plus diffusers has one pipeline,
which starts from noise: here it starts late for image_to_image, and puts the original back beside a selection.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from core_server.pipelines.families.family import (
    Defaults,
    Family,
    Guidance,
    LatentSpace,
    Looks,
    Route,
    Seamless,
    TaskPipeline,
)
from core_server.pipelines.schedulers import FLOW_SCHEDULERS


def _arguments(guidance: Guidance) -> dict[str, Any]:
    return {
        "prompt": guidance.prompt,
        # Without any negative prompt these pipelines do not guide at all; one space is what their authors use.
        "negative_prompt": guidance.negative_prompt or " ",
        "true_cfg_scale": guidance.guidance_scale,
    }


_COMMON: dict[str, Any] = {
    "schedulers": FLOW_SCHEDULERS,
    "latent_space": LatentSpace.VIDEO,
    "seamless": Seamless.ROLL,
    "license": "Apache-2.0",
    "commercial_use": True,
    "min_side": 512,
    "max_side": 1792,
    "counts_partial_step": True,
    "has_block_cache": True,
    "defaults": lambda _index, _denoiser: Defaults(50, 4.0),
    "arguments": _arguments,
    "prompt_tokens": (512, 1024),
}


def _edit_paints_at(_task: str, width: int, height: int) -> tuple[int, int]:
    # About a megapixel of the same shape in multiples of 32, whatever it is given.
    ratio = width / height
    painted = math.sqrt(1024 * 1024 * ratio)
    return round(painted / 32) * 32, round(painted / ratio / 32) * 32


def _edit_schedule(
    num_inference_steps: int, cells: int, scheduler: Mapping[str, Any]
) -> dict[str, Any]:
    from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus import (  # noqa: PLC0415
        calculate_shift,
    )

    sigmas = np.linspace(1.0, 1 / num_inference_steps, num_inference_steps)
    shift = calculate_shift(
        cells // 4,  # tokens of 2 x 2
        scheduler.get("base_image_seq_len", 256),
        scheduler.get("max_image_seq_len", 4096),
        scheduler.get("base_shift", 0.5),
        scheduler.get("max_shift", 1.15),
    )
    return {"sigmas": sigmas, "mu": shift}


QWEN_IMAGE = Family(
    name="qwen_image",
    title="Qwen-Image",
    adapters="qwen_image",
    tasks={
        "text_to_image": TaskPipeline("QwenImagePipeline"),
        "image_to_image": TaskPipeline("QwenImageImg2ImgPipeline"),
        "inpaint": TaskPipeline("QwenImageInpaintPipeline"),
    },
    original="Qwen/Qwen-Image",
    control="QwenImageControlNetModel",
    draws_latents=True,
    **_COMMON,
)
QWEN_IMAGE_EDIT = Family(
    name="qwen_image_edit",
    title="Qwen-Image-Edit",
    adapters="qwen_image",
    tasks={
        "image_to_image": TaskPipeline("QwenImageEditInpaintPipeline", Route.WHOLE_MASK),
        "inpaint": TaskPipeline("QwenImageEditInpaintPipeline"),
    },
    refused={
        "text_to_image": "it changes pictures and always needs one; Qwen-Image paints from words"
    },
    other_classes=("QwenImageEditPipeline",),
    draws_latents=True,
    original="Qwen/Qwen-Image-Edit",
    fill="none",
    pil_images=True,
    paints_at=_edit_paints_at,
    **_COMMON,
)
QWEN_IMAGE_EDIT_PLUS = Family(
    name="qwen_image_edit_plus",
    title="Qwen-Image-Edit Plus",
    adapters="qwen_image",
    tasks={
        "text_to_image": TaskPipeline("QwenImageEditPlusPipeline"),
        "image_to_image": TaskPipeline("QwenImageEditPlusPipeline", Route.LATE_START),
        "inpaint": TaskPipeline("QwenImageEditPlusPipeline", Route.MASKED_LATENTS),
    },
    original="Qwen/Qwen-Image-Edit-2511",
    fill="none",
    pil_images=True,
    looks=Looks.PICTURES,
    most_looks=3,
    paints_from_looks=True,
    schedule=_edit_schedule,
    **(_COMMON | {"counts_partial_step": False}),
)
