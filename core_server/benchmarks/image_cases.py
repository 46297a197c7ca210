"""The pictures that the suite `images` paints. Free of everything heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    """A model's size and how it is asked to paint. half: what it computes in; seconds, first: what is to be reached."""

    title: str
    side: int
    steps: int
    guidance_scale: float
    half: str
    seconds: float | None = None
    pipeline: str = ""


CASES: Mapping[str, Case] = {
    "sd15": Case("Stable Diffusion 1.5", 512, 30, 7.0, "float16", 0.20, "StableDiffusionPipeline"),
    "sdxl": Case("SDXL", 1024, 30, 7.0, "float16", 1.0, "StableDiffusionXLPipeline"),
    "klein": Case("FLUX.2 klein 4B", 1024, 4, 1.0, "bfloat16", None, "Flux2KleinPipeline"),
    "z-image": Case("Z-Image Turbo", 1024, 8, 1.0, "bfloat16", None, "ZImagePipeline"),
    "sd-turbo": Case("SD-Turbo", 512, 1, 1.0, "float16", None, "StableDiffusionPipeline"),
}
"""Name -> case."""
PROMPT, SEED = "a weathered stone wall with moss, soft light", 11
QUICK_SIDE, QUICK_STEPS = 64, 4
