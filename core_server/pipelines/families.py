"""Model families: which diffusers pipeline class does which task.

An own table rather than AutoPipeline: it is explicit, and a class that is not here is refused with a sentence instead
of half working.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Family:
    """Names of diffusers classes by task. min_side, max_side: px a side that the family paints well."""

    name: str
    text_to_image: str
    image_to_image: str
    inpaint: str
    min_side: int
    max_side: int

    def classes(self) -> tuple[str, ...]:
        """The pipeline classes of this family; any of them may stand in a model_index.json."""
        return (self.text_to_image, self.image_to_image, self.inpaint)


STABLE_DIFFUSION = Family(
    name="stable_diffusion",
    text_to_image="StableDiffusionPipeline",
    image_to_image="StableDiffusionImg2ImgPipeline",
    inpaint="StableDiffusionInpaintPipeline",
    min_side=256,
    max_side=1024,
)
STABLE_DIFFUSION_XL = Family(
    name="stable_diffusion_xl",
    text_to_image="StableDiffusionXLPipeline",
    image_to_image="StableDiffusionXLImg2ImgPipeline",
    inpaint="StableDiffusionXLInpaintPipeline",
    min_side=512,
    max_side=1536,
)
FAMILIES: Mapping[str, Family] = {
    family.name: family for family in (STABLE_DIFFUSION, STABLE_DIFFUSION_XL)
}


def family_of(pipeline_class: str) -> Family | None:
    """The family a pipeline class belongs to; None if this version cannot run it."""
    return next((f for f in FAMILIES.values() if pipeline_class in f.classes()), None)


def pipeline_class(name: str) -> Any:
    """The diffusers class of that name."""
    import diffusers  # noqa: PLC0415  the table is wanted without torch

    return getattr(diffusers, name)
