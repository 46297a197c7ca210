"""Sana, and Sana-Sprint, which paints in one to four steps.

Sources: Xie et al., "SANA: Efficient High-Resolution Image Synthesis with Linear Diffusion Transformers",
arXiv:2410.10629; Chen et al., "SANA-Sprint: One-Step Diffusion with Continuous-Time Consistency Distillation",
arXiv:2503.09641. Their autoencoder makes one latent of 32 x 32 px. Of Sana diffusers has the text-to-image pipeline
alone.
"""

from __future__ import annotations

from typing import Any

from core_server.pipelines.families.family import (
    Defaults,
    Family,
    Guidance,
    LatentSpace,
    Route,
    Seamless,
    TaskPipeline,
    as_planned_arguments,
)
from core_server.pipelines.schedulers import CONSISTENCY_SCHEDULERS, FLOW_SCHEDULERS

SANA = Family(
    name="sana",
    title="Sana",
    adapters="sana",
    tasks={
        "text_to_image": TaskPipeline("SanaPipeline"),
        "image_to_image": TaskPipeline("SanaPipeline", Route.LATE_START),
        "inpaint": TaskPipeline("SanaPipeline", Route.MASKED_LATENTS),
    },
    schedulers=FLOW_SCHEDULERS,
    latent_space=LatentSpace.SCALED,
    seamless=Seamless.ROLL,
    license="NVIDIA Open Model License (1.5: Apache-2.0)",
    commercial_use=False,
    original="Efficient-Large-Model/Sana_1600M_1024px_diffusers",
    min_side=512,
    patch=1,
    is_linear=True,
    control="SanaControlNetModel",
    defaults=lambda _index, _denoiser: Defaults(20, 4.5),
    arguments=as_planned_arguments,
    prompt_tokens=(300, 300),
)


def _sprint_arguments(guidance: Guidance) -> dict[str, Any]:
    # The model is told how closely to follow the words; two steps have a best place for the second, others have none.
    found = as_planned_arguments(guidance)
    del found["negative_prompt"]
    return found | {"intermediate_timesteps": 1.3 if guidance.num_inference_steps == 2 else None}


SANA_SPRINT = Family(
    name="sana_sprint",
    title="Sana-Sprint",
    adapters="sana_sprint",
    tasks={
        "text_to_image": TaskPipeline("SanaSprintPipeline"),
        "image_to_image": TaskPipeline("SanaSprintImg2ImgPipeline"),
        "inpaint": TaskPipeline("SanaSprintImg2ImgPipeline", Route.MASKED_LATENTS),
    },
    schedulers=CONSISTENCY_SCHEDULERS,
    latent_space=LatentSpace.SCALED,
    seamless=Seamless.ROLL,
    license="NSCL v2-custom (NVIDIA)",
    commercial_use=False,
    original="Efficient-Large-Model/Sana_Sprint_1.6B_1024px_diffusers",
    min_side=512,
    max_side=1536,
    patch=1,
    is_linear=True,
    defaults=lambda _index, _denoiser: Defaults(2, 4.5),
    arguments=_sprint_arguments,
    prompt_tokens=(300, 300),
    negative_prompt=False,
    counts_partial_step=True,
)
