"""PixArt-alpha and PixArt-Sigma.

Sources: Chen et al., arXiv:2310.00426 and arXiv:2403.04692. diffusers has the text-to-image pipelines alone; the other
tasks are built from them.
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
from core_server.pipelines.schedulers import DIFFUSION_SCHEDULERS


def _family(name: str, title: str, class_name: str, original: str, tokens: int) -> Family:
    return Family(
        name=name,
        title=title,
        adapters=name,
        tasks={
            "text_to_image": TaskPipeline(class_name),
            "image_to_image": TaskPipeline(class_name, Route.LATE_START),
            "inpaint": TaskPipeline(class_name, Route.MASKED_LATENTS),
        },
        schedulers=DIFFUSION_SCHEDULERS,
        latent_space=LatentSpace.SCALED,
        seamless=Seamless.ROLL,
        license="CreativeML-OpenRAIL++-M",
        commercial_use=True,
        original=original,
        min_side=512,
        max_side=1536,
        defaults=lambda _index, _denoiser: Defaults(20, 4.5),
        arguments=as_planned_arguments,
        prompt_tokens=(tokens, tokens),
    )


PIXART_ALPHA = _family(
    "pixart_alpha", "PixArt-alpha", "PixArtAlphaPipeline", "PixArt-alpha/PixArt-XL-2-1024-MS", 120
)
PIXART_SIGMA = _family(
    "pixart_sigma",
    "PixArt-Sigma",
    "PixArtSigmaPipeline",
    "PixArt-alpha/PixArt-Sigma-XL-2-1024-MS",
    300,
)
