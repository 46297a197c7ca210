"""FLUX.2 klein, a few-step model that paints, edits and inpaints, and FLUX.2 dev.

Source: https://github.com/black-forest-labs/flux2 and the model cards of FLUX.2-klein-4B and FLUX.2-dev. klein's
inpainting pipeline shows the original picture to the denoiser as a reference, so the surroundings are known whatever is
noised; so it is for dev, for which diffusers has one pipeline alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

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
from core_server.pipelines.schedulers import FLOW_SCHEDULERS

_MEGAPIXEL, _MULTIPLE = 1024 * 1024, 16


def _arguments(guidance: Guidance) -> dict[str, Any]:
    return {"prompt": guidance.prompt, "guidance_scale": guidance.guidance_scale}


def _defaults(index: Config, _denoiser: Config) -> Defaults:
    return Defaults(4, 1.0) if index.get("is_distilled", True) else Defaults(50, 4.0)


def _schedule(num_inference_steps: int, cells: int, _scheduler: Config) -> dict[str, Any]:
    from diffusers.pipelines.flux2.pipeline_flux2 import compute_empirical_mu  # noqa: PLC0415

    sigmas = np.linspace(1.0, 1 / num_inference_steps, num_inference_steps)
    return {"sigmas": sigmas, "mu": compute_empirical_mu(cells, num_inference_steps)}


def _paints_at(task: str, width: int, height: int) -> tuple[int, int]:
    # The inpainting pipeline reduces pictures of more than a megapixel before anything else.
    if task == "text_to_image" or width * height <= _MEGAPIXEL:
        return width, height
    scale = math.sqrt(_MEGAPIXEL / (width * height))
    return int(width * scale) // _MULTIPLE * _MULTIPLE, int(height * scale) // _MULTIPLE * _MULTIPLE


FLUX_2_KLEIN = Family(
    name="flux_2_klein",
    title="FLUX.2 klein",
    adapters="flux_2_klein",
    tasks={
        "text_to_image": TaskPipeline("Flux2KleinPipeline"),
        "image_to_image": TaskPipeline("Flux2KleinInpaintPipeline", Route.WHOLE_MASK),
        "inpaint": TaskPipeline("Flux2KleinInpaintPipeline"),
    },
    schedulers=FLOW_SCHEDULERS,
    latent_space=LatentSpace.FLUX_2,
    seamless=Seamless.ROLL,
    license="Apache-2.0",
    commercial_use=True,
    original="black-forest-labs/FLUX.2-klein-4B",
    fill="none",
    looks=Looks.TOKENS,
    paints_at=_paints_at,
    defaults=_defaults,
    arguments=_arguments,
    negative_prompt=False,
    has_block_cache=True,
    prompt_tokens=(512, 512),
    counts_partial_step=True,
)

FLUX_2_DEV = Family(
    name="flux_2_dev",
    title="FLUX.2 dev",
    adapters="flux_2_klein",
    tasks={
        "text_to_image": TaskPipeline("Flux2Pipeline"),
        "image_to_image": TaskPipeline("Flux2Pipeline", Route.LATE_START),
        "inpaint": TaskPipeline("Flux2Pipeline", Route.MASKED_LATENTS),
    },
    schedulers=FLOW_SCHEDULERS,
    latent_space=LatentSpace.FLUX_2,
    seamless=Seamless.ROLL,
    license="FLUX [dev] Non-Commercial License",
    commercial_use=False,
    original="black-forest-labs/FLUX.2-dev",
    fill="none",
    looks=Looks.TOKENS,
    defaults=lambda _index, _denoiser: Defaults(28, 4.0),
    arguments=_arguments,
    schedule=_schedule,
    negative_prompt=False,
    has_block_cache=True,
    prompt_tokens=(512, 512),
    pil_images=True,
)
