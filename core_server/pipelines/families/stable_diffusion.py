"""Stable Diffusion 1.x and 2.x and their inpainting checkpoints, which differ in the text encoder alone.

Sources: Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", arXiv:2112.10752; the model
cards of stable-diffusion-v1-5 and stable-diffusion-2-1.
"""

from __future__ import annotations

from core_server.pipelines.families.family import (
    Config,
    Defaults,
    Family,
    LatentSpace,
    Looks,
    Seamless,
    TaskPipeline,
)
from core_server.pipelines.schedulers import DIFFUSION_SCHEDULERS

INPAINT_CHANNELS = 9
"""Latents, mask and masked picture side by side: what an inpainting checkpoint's denoiser reads."""
NEEDS_A_PICTURE = "it is an inpainting checkpoint, which always needs a picture and a selection"

_TASKS = {
    "text_to_image": TaskPipeline("StableDiffusionPipeline"),
    "image_to_image": TaskPipeline("StableDiffusionImg2ImgPipeline"),
    "inpaint": TaskPipeline("StableDiffusionInpaintPipeline"),
}
_OPTIONS = {"requires_safety_checker": False}
_DROPPED = ("safety_checker", "feature_extractor", "image_encoder")


def is_inpaint(denoiser: Config) -> bool:
    """Whether a UNet's configuration is that of an inpainting checkpoint."""
    return bool(denoiser.get("in_channels", 4) == INPAINT_CHANNELS)


def _is_second(denoiser: Config) -> bool:
    return bool(denoiser.get("cross_attention_dim") == 1024)  # OpenCLIP ViT-H; the first has 768


def _family(
    name: str, title: str, *, second: bool, inpaint: bool, license_name: str, original: str
) -> Family:
    return Family(
        name=name,
        title=title,
        adapters="stable_diffusion_2" if second else "stable_diffusion",
        tasks={"inpaint": _TASKS["inpaint"]} if inpaint else _TASKS,
        refused=dict.fromkeys(("text_to_image", "image_to_image"), NEEDS_A_PICTURE)
        if inpaint
        else {},
        other_classes=tuple(task.class_name for task in _TASKS.values()),
        schedulers=DIFFUSION_SCHEDULERS,
        latent_space=LatentSpace.SCALED,
        seamless=Seamless.CIRCULAR,
        license=license_name,
        commercial_use=True,
        original=original,
        denoiser="unet",
        dropped=_DROPPED,
        min_side=256,
        max_side=1024,
        patch=1,
        half="float16",
        control="ControlNetModel",
        looks=Looks.ADAPTER,
        pipeline_options=_OPTIONS,
        defaults=lambda _index, _denoiser: Defaults(25, 7.0),
        matches=lambda denoiser: _is_second(denoiser) == second and is_inpaint(denoiser) == inpaint,
    )


STABLE_DIFFUSION = _family(
    "stable_diffusion",
    "Stable Diffusion 1.x",
    second=False,
    inpaint=False,
    license_name="CreativeML-OpenRAIL-M",
    original="stable-diffusion-v1-5/stable-diffusion-v1-5",
)
STABLE_DIFFUSION_INPAINT = _family(
    "stable_diffusion_inpaint",
    "Stable Diffusion 1.x inpainting",
    second=False,
    inpaint=True,
    license_name="CreativeML-OpenRAIL-M",
    original="stable-diffusion-v1-5/stable-diffusion-inpainting",
)
STABLE_DIFFUSION_2 = _family(
    "stable_diffusion_2",
    "Stable Diffusion 2.x",
    second=True,
    inpaint=False,
    license_name="CreativeML-OpenRAIL++-M",
    original="stabilityai/stable-diffusion-2-1",
)
STABLE_DIFFUSION_2_INPAINT = _family(
    "stable_diffusion_2_inpaint",
    "Stable Diffusion 2.x inpainting",
    second=True,
    inpaint=True,
    license_name="CreativeML-OpenRAIL++-M",
    original="stabilityai/stable-diffusion-2-inpainting",
)
