"""Stable Diffusion 3 and 3.5.

Source: Esser et al., "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis", arXiv:2403.03206.
"""

from __future__ import annotations

from core_server.pipelines.families.family import (
    Defaults,
    Family,
    LatentSpace,
    Looks,
    Seamless,
    TaskPipeline,
)
from core_server.pipelines.schedulers import FLOW_SCHEDULERS

STABLE_DIFFUSION_3 = Family(
    name="stable_diffusion_3",
    title="Stable Diffusion 3 and 3.5",
    adapters="stable_diffusion_3",
    tasks={
        "text_to_image": TaskPipeline("StableDiffusion3Pipeline"),
        "image_to_image": TaskPipeline("StableDiffusion3Img2ImgPipeline"),
        "inpaint": TaskPipeline("StableDiffusion3InpaintPipeline"),
    },
    schedulers=FLOW_SCHEDULERS,
    latent_space=LatentSpace.SHIFTED,
    seamless=Seamless.ROLL,
    license="Stability AI Community License",
    commercial_use=False,
    original="stabilityai/stable-diffusion-3.5-medium",
    text_encoders=("text_encoder", "text_encoder_2", "text_encoder_3"),
    tokenizers=("tokenizer", "tokenizer_2", "tokenizer_3"),
    dropped=("image_encoder", "feature_extractor"),
    min_side=512,
    max_side=1536,
    counts_partial_step=True,
    prompt_tokens=(256, 512),
    control="SD3ControlNetModel",
    looks=Looks.ADAPTER,
    most_looks=1,
    defaults=lambda _index, _denoiser: Defaults(28, 4.5),
)
