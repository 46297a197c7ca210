"""Requests made complete: the model's defaults filled in, everything checked before the device is touched."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core_server.errors import InvalidRequest
from core_server.pipelines.families.registry import FAMILIES
from core_server.pipelines.request import ANY_MODEL_TASKS, MAX_GUIDANCE, Request, task_name
from core_server.pipelines.schedulers import scheduler_choice
from core_server.pipelines.task import ModelProfile
from core_server.pipelines.words.styles import Styles
from core_server.pipelines.words.wildcards import expand, has_wildcards

if TYPE_CHECKING:
    from core_server.canvas.geometry import Bounds
    from core_server.canvas.plan import CanvasPlan
    from core_server.pipelines.control import Control
    from core_server.pipelines.reference import Reference

MAX_STEPS, MAX_COUNT = 1000, 64
SEED_MODULUS = 2**64


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
    reference: Reference | None = None
    """Reference pictures."""

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


def settle(request: Request, profile: ModelProfile, styles: Styles | None = None) -> Settings:
    """Fills in `profile`'s defaults and applies the style. Errors: InvalidRequest, NotImplementedHere."""
    parameters = request.parameters
    task = task_name(request)
    if task not in profile.tasks and task not in ANY_MODEL_TASKS:
        refused = FAMILIES[profile.family].refused if profile.family in FAMILIES else {}
        reason = refused.get("text_to_image" if task == "texture" else task)
        because = f", since {reason}" if reason else ""
        raise InvalidRequest(
            "parameters.model",
            f"The model {profile.model_id!r} cannot do {task}{because}; it does {', '.join(profile.tasks)}.",
            allowed=", ".join(profile.tasks),
        )
    if task in ("text_to_image", "texture") and not parameters.prompt.strip():
        raise InvalidRequest(
            "parameters.prompt", "The prompt is empty; say what to paint.", allowed="some text"
        )
    steps = parameters.num_inference_steps
    steps = profile.num_inference_steps if steps is None else steps
    if not 1 <= steps <= MAX_STEPS:
        raise InvalidRequest(
            "parameters.num_inference_steps",
            f"num_inference_steps is {steps}; it must be 1 to {MAX_STEPS}.",
            allowed=f"1..{MAX_STEPS}",
        )
    guidance = parameters.guidance_scale
    guidance = profile.guidance_scale if guidance is None else guidance
    if not math.isfinite(guidance) or not 0 <= guidance <= MAX_GUIDANCE:
        raise InvalidRequest(
            "parameters.guidance_scale",
            f"guidance_scale is {guidance:g}; it must be 0 to {MAX_GUIDANCE:g}.",
            allowed=f"0..{MAX_GUIDANCE:g}",
        )
    scheduler = parameters.scheduler or profile.scheduler
    scheduler_choice(scheduler, profile.schedulers)
    if not 1 <= parameters.count <= MAX_COUNT:
        raise InvalidRequest(
            "parameters.count",
            f"count is {parameters.count}; it must be 1 to {MAX_COUNT}.",
            allowed=f"1..{MAX_COUNT}",
        )
    if not 0 <= parameters.seed < SEED_MODULUS:
        raise InvalidRequest(
            "parameters.seed",
            f"The seed is {parameters.seed}; it must be 0 to 2**64 - 1.",
            allowed="0..18446744073709551615",
        )
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
    return Settings(
        prompt=prompt,
        negative_prompt=negative_prompt,
        recipe=recipe,
        num_inference_steps=steps,
        guidance_scale=float(guidance),
        scheduler=scheduler,
        seeds=tuple((parameters.seed + k) % SEED_MODULUS for k in range(parameters.count)),
    )
