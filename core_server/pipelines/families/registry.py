"""Every family this version runs, and which of them a pipeline belongs to.

An own table rather than AutoPipeline: it is explicit, and a class that is not here is refused with a sentence instead
of half working.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core_server.errors import ModelLoadFailed
from core_server.pipelines.families.family import Config, Family
from core_server.pipelines.families.flux import FLUX, FLUX_CONTROL, FLUX_FILL, FLUX_KONTEXT
from core_server.pipelines.families.flux_2 import FLUX_2_DEV, FLUX_2_KLEIN
from core_server.pipelines.families.pixart import PIXART_ALPHA, PIXART_SIGMA
from core_server.pipelines.families.qwen_image import (
    QWEN_IMAGE,
    QWEN_IMAGE_EDIT,
    QWEN_IMAGE_EDIT_PLUS,
)
from core_server.pipelines.families.sana import SANA, SANA_SPRINT
from core_server.pipelines.families.stable_diffusion import (
    STABLE_DIFFUSION,
    STABLE_DIFFUSION_2,
    STABLE_DIFFUSION_2_INPAINT,
    STABLE_DIFFUSION_INPAINT,
)
from core_server.pipelines.families.stable_diffusion_3 import STABLE_DIFFUSION_3
from core_server.pipelines.families.stable_diffusion_xl import (
    STABLE_DIFFUSION_XL,
    STABLE_DIFFUSION_XL_INPAINT,
)
from core_server.pipelines.families.z_image import Z_IMAGE

FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        STABLE_DIFFUSION,
        STABLE_DIFFUSION_INPAINT,
        STABLE_DIFFUSION_2,
        STABLE_DIFFUSION_2_INPAINT,
        STABLE_DIFFUSION_XL,
        STABLE_DIFFUSION_XL_INPAINT,
        STABLE_DIFFUSION_3,
        FLUX,
        FLUX_FILL,
        FLUX_KONTEXT,
        FLUX_CONTROL,
        FLUX_2_KLEIN,
        FLUX_2_DEV,
        Z_IMAGE,
        QWEN_IMAGE,
        QWEN_IMAGE_EDIT,
        QWEN_IMAGE_EDIT_PLUS,
        PIXART_ALPHA,
        PIXART_SIGMA,
        SANA,
        SANA_SPRINT,
    )
}


def family_of(class_name: str, denoiser: Config) -> Family | None:
    """The family of a model_index.json's pipeline class with this denoiser configuration; None if it is unknown."""
    return next(
        (f for f in FAMILIES.values() if class_name in f.classes() and f.matches(denoiser)), None
    )


def known_classes() -> tuple[str, ...]:
    """Every pipeline class that some family knows, sorted."""
    return tuple(sorted({name for family in FAMILIES.values() for name in family.classes()}))


def cannot_run(title: str, class_name: str) -> ModelLoadFailed:
    """The error for a pipeline of no family. title: what to call the model."""
    titles = ", ".join(family.title for family in FAMILIES.values())
    return ModelLoadFailed(
        f"{title} is a {class_name or 'nameless pipeline'}, which this version cannot run; it runs {titles}."
    )


def pipeline_class(name: str) -> Any:
    """The diffusers class of that name."""
    import diffusers  # noqa: PLC0415  the table is wanted without torch

    return getattr(diffusers, name)
