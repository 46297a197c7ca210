"""FLUX.1 (dev, schnell, Krea), its inpainting checkpoint FLUX.1 Fill, FLUX.1 Kontext, which edits pictures, and FLUX.1
Depth and Canny, which paint from a control image.

Source: https://github.com/black-forest-labs/flux and the model cards. Guidance is distilled into the denoiser: it is
called once a step, guidance_scale is one of its inputs, and a negative prompt has nothing to act on.
"""

from __future__ import annotations

from typing import Any

from core_server.pipelines.families.family import (
    Config,
    Defaults,
    Family,
    Guidance,
    LatentSpace,
    Looks,
    Route,
    Seamless,
    TaskPipeline,
)
from core_server.pipelines.families.stable_diffusion import NEEDS_A_PICTURE
from core_server.pipelines.schedulers import FLOW_SCHEDULERS


def _arguments(guidance: Guidance) -> dict[str, Any]:
    return {"prompt": guidance.prompt, "guidance_scale": guidance.guidance_scale}


def _defaults(_index: Config, denoiser: Config) -> Defaults:
    # The one without an input for guidance is schnell, distilled to a few steps.
    return Defaults(28, 3.5) if denoiser.get("guidance_embeds", False) else Defaults(4, 0.0)


_COMMON: dict[str, Any] = {
    "adapters": "flux",
    "schedulers": FLOW_SCHEDULERS,
    "latent_space": LatentSpace.PACKED,
    "seamless": Seamless.ROLL,
    "license": "FLUX.1 [dev] Non-Commercial License (schnell: Apache-2.0)",
    "commercial_use": False,
    "text_encoders": ("text_encoder", "text_encoder_2"),
    "tokenizers": ("tokenizer", "tokenizer_2"),
    "dropped": ("image_encoder", "feature_extractor"),
    "arguments": _arguments,
    "negative_prompt": False,
    "prompt_tokens": (512, 512),
    "counts_partial_step": True,
    "has_block_cache": True,
}

FLUX = Family(
    name="flux",
    title="FLUX.1",
    tasks={
        "text_to_image": TaskPipeline("FluxPipeline"),
        "image_to_image": TaskPipeline("FluxImg2ImgPipeline"),
        "inpaint": TaskPipeline("FluxInpaintPipeline"),
    },
    original="black-forest-labs/FLUX.1-dev",
    control="FluxControlNetModel",
    looks=Looks.ADAPTER,
    defaults=_defaults,
    **_COMMON,
)
FLUX_FILL = Family(
    name="flux_fill",
    title="FLUX.1 Fill",
    tasks={"inpaint": TaskPipeline("FluxFillPipeline")},
    refused=dict.fromkeys(("text_to_image", "image_to_image"), NEEDS_A_PICTURE),
    original="black-forest-labs/FLUX.1-Fill-dev",
    fill="none",
    defaults=lambda _index, _denoiser: Defaults(50, 30.0),
    **_COMMON,
)
FLUX_KONTEXT = Family(
    name="flux_kontext",
    title="FLUX.1 Kontext",
    tasks={
        "text_to_image": TaskPipeline("FluxKontextPipeline"),
        "image_to_image": TaskPipeline("FluxKontextInpaintPipeline", Route.WHOLE_MASK),
        "inpaint": TaskPipeline("FluxKontextInpaintPipeline"),
    },
    original="black-forest-labs/FLUX.1-Kontext-dev",
    fill="none",
    looks=Looks.PICTURES,
    most_looks=1,
    defaults=lambda _index, _denoiser: Defaults(28, 2.5),
    **_COMMON,
)
FLUX_CONTROL = Family(
    name="flux_control",
    title="FLUX.1 Depth and Canny",
    tasks={
        "text_to_image": TaskPipeline("FluxControlPipeline"),
        "image_to_image": TaskPipeline("FluxControlImg2ImgPipeline"),
        "inpaint": TaskPipeline("FluxControlInpaintPipeline"),
    },
    original="black-forest-labs/FLUX.1-Depth-dev",
    controls_itself=True,
    refused=dict.fromkeys(
        ("outpaint", "upscale"),
        "it always paints from a control image, which there is none of here",
    ),
    defaults=lambda _index, _denoiser: Defaults(30, 10.0),
    **_COMMON,
)
