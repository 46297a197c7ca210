"""The recipe of a picture: everything that was really done, in JSON. Repeating it repeats the picture."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import metadata
from typing import Any

import msgspec

from core_server.canvas.plan import CanvasPlan
from core_server.pipelines.memory import Rung
from core_server.pipelines.model import LoadedModel
from core_server.pipelines.request import Request, task_name
from core_server.pipelines.settings import Settings

RECIPE_VERSION = 1


def make_recipe(
    model: LoadedModel,
    request: Request,
    settings: Settings,
    seed: int,
    *,
    steps_run: int,
    notes: tuple[str, ...] = (),
    plan: CanvasPlan | None = None,
    details: Mapping[str, Any],
) -> dict[str, Any]:
    """details: what only this task has, such as strength, extent, model_extent and seam_ratio."""
    settings = settings.at(seed)
    recipe: dict[str, Any] = {
        "recipe_version": RECIPE_VERSION,
        "task": task_name(request),
        "model": model.profile.model_id,
        "model_family": model.profile.family,
        "model_sha256": model.weights_hash.result(),
        "model_license": model.profile.license,
        "model_commercial_use": model.profile.commercial_use,
        "prompt": settings.prompt,
        "negative_prompt": settings.negative_prompt,
        "num_inference_steps": settings.num_inference_steps,
        "steps_run": steps_run,
        "guidance_scale": settings.guidance_scale,
        "scheduler": settings.scheduler,
        "few_step": model.few_step,
        "seed": seed,
        "seamless": request.parameters.seamless.value,
        "device": str(model.device),
        "dtype": str(model.dtype).removeprefix("torch."),
        "denoiser_dtype": str(model.tiers.denoiser_dtype or model.dtype).removeprefix("torch."),
        "autoencoder_dtype": str(model.autoencoder_dtype or model.dtype).removeprefix("torch."),
        "memory": (model.rung or Rung.RESIDENT).name.lower(),
        "kernels": model.tiers.told,
        "launched": model.tiers.launched,
        "versions": versions(),
        "notes": [*model.notes, *model.memory_notes, *settings.notes, *notes],
        **settings.recipe,
        **details,
    }
    if plan is not None:
        recipe["plan"] = msgspec.to_builtins(plan)
    return recipe


def versions() -> dict[str, str]:
    """Of what decides the last bits of a picture."""
    return dict(_versions())


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    names = ("scumble", "torch", "diffusers", "transformers")
    return tuple((name, metadata.version(name)) for name in names)
