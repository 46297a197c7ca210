"""Z-Image, above all the few-step Turbo.

Source: https://github.com/Tongyi-MAI/Z-Image and the model card of Z-Image-Turbo.
"""

from __future__ import annotations

from core_server.pipelines.families.family import (
    Defaults,
    Family,
    LatentSpace,
    Seamless,
    TaskPipeline,
)
from core_server.pipelines.schedulers import FLOW_SCHEDULERS

Z_IMAGE = Family(
    name="z_image",
    title="Z-Image",
    adapters="z_image",
    tasks={
        "text_to_image": TaskPipeline("ZImagePipeline"),
        "image_to_image": TaskPipeline("ZImageImg2ImgPipeline"),
        "inpaint": TaskPipeline("ZImageInpaintPipeline"),
    },
    schedulers=FLOW_SCHEDULERS,
    latent_space=LatentSpace.SHIFTED,
    seamless=Seamless.ROLL,
    license="Apache-2.0",
    commercial_use=True,
    original="Tongyi-MAI/Z-Image-Turbo",
    min_side=512,
    counts_partial_step=True,
    prompt_tokens=(512, 512),
    control="ZImageControlNetModel",
    defaults=lambda _index, _denoiser: Defaults(9, 0.0),
)
