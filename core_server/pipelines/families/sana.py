"""Sana.

Source: Xie et al., "SANA: Efficient High-Resolution Image Synthesis with Linear Diffusion Transformers",
arXiv:2410.10629. Its autoencoder makes one latent of 32 x 32 px. diffusers has the text-to-image pipeline alone.
"""

from __future__ import annotations

from core_server.pipelines.families.family import (
    Defaults,
    Family,
    LatentSpace,
    Route,
    Seamless,
    TaskPipeline,
    as_planned_arguments,
)
from core_server.pipelines.schedulers import FLOW_SCHEDULERS

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
    defaults=lambda _index, _denoiser: Defaults(20, 4.5),
    arguments=as_planned_arguments,
)
