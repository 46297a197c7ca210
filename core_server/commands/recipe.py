"""The recipe a PNG carries: `scumble`, our JSON, and `parameters`, the text that other tools of the field read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core_server.commands import png
from core_server.commands.errors import CommandError

KEY, WIDELY_READ_KEY = "scumble", "parameters"


def entries(recipe: Mapping[str, Any]) -> dict[str, str]:
    """The texts for a PNG, by key."""
    return {KEY: json.dumps(recipe, ensure_ascii=False), WIDELY_READ_KEY: parameters_text(recipe)}


def read_recipe(path: Path) -> dict[str, Any]:
    """The recipe in a PNG. Errors: CommandError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise CommandError(f"There is no file {path}.") from error
    if not data.startswith(png.SIGNATURE):
        raise CommandError(f"{path} is no PNG; only PNG files carry a recipe.")
    try:
        found = png.texts(data).get(KEY)
        recipe = None if found is None else json.loads(found)
    except png.DamagedPng as error:
        raise CommandError(f"{path} is damaged: {error}.") from error
    except ValueError as error:
        raise CommandError(f"The recipe in {path} cannot be read: {error}.") from error
    if not isinstance(recipe, dict):
        raise CommandError(f"{path} carries no recipe of Scumble's.")
    return recipe


def parameters_text(recipe: Mapping[str, Any]) -> str:
    """The widely read form: prompt, negative prompt, then one line of `Key: value` pairs."""
    width, height = recipe.get("extent", ("", ""))
    pairs = {
        "Steps": recipe.get("num_inference_steps"),
        "Sampler": recipe.get("scheduler"),
        "CFG scale": recipe.get("guidance_scale"),
        "Seed": recipe.get("seed"),
        "Size": f"{width}x{height}" if width else None,
        "Model hash": str(recipe.get("model_sha256", ""))[:10],
        "Model": recipe.get("model"),
        "Denoising strength": recipe.get("strength"),
        "Version": f"Scumble {recipe.get('versions', {}).get('scumble', '')}".strip(),
    }
    lines = [str(recipe.get("prompt", ""))]
    if recipe.get("negative_prompt"):
        lines.append(f"Negative prompt: {recipe['negative_prompt']}")
    lines.append(
        ", ".join(
            f"{key}: {_quoted(value)}" for key, value in pairs.items() if value not in (None, "")
        )
    )
    return "\n".join(lines)


def _quoted(value: object) -> str:
    """Values that would break the list of pairs are JSON strings."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(c in text for c in ',:\n"') else text
