"""Requests made complete: the model's defaults filled in, everything checked before the device is touched."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core_server.errors import InvalidRequest
from core_server.pipelines.families.family import Guidance
from core_server.pipelines.families.registry import FAMILIES
from core_server.pipelines.request import (
    ANY_MODEL_TASKS,
    Request,
    task_name,
)
from core_server.pipelines.schedulers import scheduler_choice
from core_server.pipelines.task import ModelProfile
from core_server.pipelines.words.styles import Styles
from core_server.pipelines.words.wildcards import expand, has_wildcards
from core_server.ranges import (
    ADAPTER_WEIGHT,
    ADAPTERS,
    BLOCK_CACHE,
    CONTROL_IMAGES,
    CONTROL_WEIGHT,
    COUNT,
    GUIDANCE,
    GUIDANCE_END,
    REFERENCE_IMAGES,
    REFERENCE_WEIGHT,
    SEED,
    SEED_MODULUS,
    STEPS,
)

if TYPE_CHECKING:
    from core_server.canvas.geometry import Bounds
    from core_server.canvas.plan import CanvasPlan
    from core_server.pipelines.control import Control
    from core_server.pipelines.model import FloatArray
    from core_server.pipelines.reference import Reference
    from core_server.pipelines.reference_seen import SeenReference


@dataclass(frozen=True, slots=True)
class Settings:
    """The shared parameters without anything left open. Ranges as in `scumble.v1.GenerationParameters`."""

    prompt: str
    negative_prompt: str
    num_inference_steps: int
    guidance_scale: float
    scheduler: str
    seeds: tuple[int, ...]
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """What else the recipe must tell: style, adapters."""
    notes: tuple[str, ...] = ()
    control: Control | None = None
    """Control pictures."""
    reference: Reference | SeenReference | None = None
    """Reference pictures."""
    guidance_end: float = 1.0
    block_cache: float = 0.0
    denoiser_precision: str = ""
    """Of the products in its blocks: "fp8" or "int8"; empty: as the model is loaded."""

    @property
    def guidance(self) -> Guidance:
        """What a family words for its pipelines."""
        return Guidance(
            self.prompt, self.negative_prompt, self.guidance_scale, self.num_inference_steps
        )

    def over(self, plan: CanvasPlan) -> Settings:
        """For an inpaint along `plan`. Errors: InvalidRequest for control pictures that do not cover it."""
        return (
            self
            if self.control is None
            else dataclasses.replace(self, control=self.control.over(plan))
        )

    def seen(self, view: Bounds) -> Settings:
        """For one pass over `view`, document px."""
        return (
            self
            if self.control is None
            else dataclasses.replace(self, control=self.control.seen(view))
        )

    def hiding(self, mask: FloatArray, image: FloatArray) -> Settings:
        """For a pass that repaints `image` where `mask` is; see `Control.hiding`."""
        return (
            self
            if self.control is None
            else dataclasses.replace(self, control=self.control.hiding(mask, image))
        )

    def at(self, seed: int) -> Settings:
        """The settings of one picture: its wildcards chosen by its seed."""
        if not has_wildcards(self.prompt + self.negative_prompt):
            return self
        asked = {"prompt_template": self.prompt}
        if has_wildcards(self.negative_prompt):
            asked["negative_prompt_template"] = self.negative_prompt
        return dataclasses.replace(
            self,
            prompt=expand(self.prompt, seed),
            negative_prompt=expand(self.negative_prompt, seed, "parameters.negative_prompt"),
            recipe={**self.recipe, **asked},
        )


def require_task(profile: ModelProfile, task: str, field: str = "parameters.model") -> None:
    """Errors: InvalidRequest for what the model does not do, with the reason where its family has one."""
    if task in profile.tasks or task in ANY_MODEL_TASKS:
        return
    refused = FAMILIES[profile.family].refused if profile.family in FAMILIES else {}
    reason = refused.get("text_to_image" if task == "texture" else task)
    because = f", since {reason}" if reason else ""
    allowed = ", ".join(profile.tasks)
    raise InvalidRequest(
        field,
        f"The model {profile.model_id!r} cannot do {task}{because}; it does {allowed}. Choose another model.",
        allowed=allowed,
    )


def settle(request: Request, profile: ModelProfile, styles: Styles | None = None) -> Settings:
    """Fills in `profile`'s defaults and applies the style. Errors: InvalidRequest, NotImplementedHere."""
    parameters = request.parameters
    task = task_name(request)
    require_task(profile, task)
    if task in ("text_to_image", "texture") and not parameters.prompt.strip():
        raise InvalidRequest(
            "parameters.prompt", "The prompt is empty; say what to paint.", allowed="some text"
        )
    family = FAMILIES.get(profile.family)
    from_nothing = task in ("text_to_image", "texture") and not parameters.reference_images
    if from_nothing and family is not None and family.paints_from_looks:
        raise InvalidRequest(
            "parameters.reference_images",
            f"{family.title} paints from pictures: give {task} at least one reference image, or choose another model "
            "to paint from words alone.",
            allowed="1 or more",
        )
    if family is not None and family.controls_itself and not parameters.control_images:
        raise InvalidRequest(
            "parameters.control_images",
            f"{family.title} paint from a control image: add one of the kind depth or line, as the model was made for.",
            allowed="1",
        )
    steps = parameters.num_inference_steps
    steps = profile.num_inference_steps if steps is None else steps
    STEPS.check(steps, "parameters.num_inference_steps")
    guidance = parameters.guidance_scale
    guidance = profile.guidance_scale if guidance is None else guidance
    GUIDANCE.check(guidance, "parameters.guidance_scale")
    scheduler = parameters.scheduler or profile.scheduler
    scheduler_choice(scheduler, profile.schedulers)
    GUIDANCE_END.check(parameters.guidance_end, "parameters.guidance_end")
    BLOCK_CACHE.check(parameters.block_cache, "parameters.block_cache")
    COUNT.check(parameters.count, "parameters.count")
    SEED.check(parameters.seed, "parameters.seed")
    for name, many, weight in (
        ("adapters", ADAPTERS, ADAPTER_WEIGHT),
        ("control_images", CONTROL_IMAGES, CONTROL_WEIGHT),
        ("reference_images", REFERENCE_IMAGES, REFERENCE_WEIGHT),
    ):
        given = getattr(parameters, name)
        many.check(len(given), f"parameters.{name}")
        for index, it in enumerate(given):
            weight.check(it.weight, f"parameters.{name}[{index}].weight")
    prompt, negative_prompt = parameters.prompt, parameters.negative_prompt
    recipe: dict[str, Any] = {}
    if parameters.style:
        style = (styles or Styles(Path())).find(parameters.style)
        # What repeats the picture are the whole prompts; the style's name is for people.
        recipe = {
            "style": style.name,
            "prompt_without_style": prompt,
            "negative_prompt_without_style": negative_prompt,
        }
        prompt, negative_prompt = style.apply(prompt, negative_prompt)
    notes: tuple[str, ...] = ()
    if parameters.guidance_end < 1:
        recipe["guidance_end"] = parameters.guidance_end
        if guidance <= 1:
            notes = ("guidance_end had no effect because guidance_scale is 1 or less",)
    if parameters.block_cache:
        recipe["block_cache"] = parameters.block_cache
    precision = "" if parameters.denoiser_precision is None else parameters.denoiser_precision.value
    if precision:
        recipe["denoiser_precision"] = precision
    return Settings(
        prompt=prompt,
        negative_prompt=negative_prompt,
        recipe=recipe,
        notes=notes,
        guidance_end=parameters.guidance_end,
        block_cache=parameters.block_cache,
        denoiser_precision=precision,
        num_inference_steps=steps,
        guidance_scale=float(guidance),
        scheduler=scheduler,
        seeds=tuple((parameters.seed + k) % SEED_MODULUS for k in range(parameters.count)),
    )
