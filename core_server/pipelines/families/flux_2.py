"""FLUX.2 klein: a few-step model that paints, edits and inpaints.

Source: https://github.com/black-forest-labs/flux2 and the model card of FLUX.2-klein-4B. The inpainting pipeline shows
the original picture to the denoiser as a reference, so the surroundings are known whatever is noised.
"""

from __future__ import annotations

import math
from typing import Any

from core_server.pipelines.families.family import (
    Config,
    Defaults,
    Family,
    Guidance,
    LatentSpace,
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
    paints_at=_paints_at,
    defaults=_defaults,
    arguments=_arguments,
    negative_prompt=False,
    counts_partial_step=True,
)
