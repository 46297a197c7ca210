"""What a model's text encoder really reads of a prompt."""

from __future__ import annotations

from core_server.pipelines.model import LoadedModel
from core_server.pipelines.settings import Settings


def prompt_notes(model: LoadedModel, settings: Settings) -> tuple[str, ...]:
    """Notes for the recipe: what was cut off, and what has no effect."""
    notes = []
    tokenizer = model.components["tokenizer"]
    longest = int(tokenizer.model_max_length)
    for name, text in (
        ("prompt", settings.prompt),
        ("negative_prompt", settings.negative_prompt),
    ):
        tokens = len(tokenizer(text, truncation=False).input_ids)
        if tokens > longest:
            notes.append(
                f"the {name} has {tokens - 2} tokens; this model read the first {longest - 2}"
            )
    if settings.negative_prompt and settings.guidance_scale <= 1:
        notes.append("negative_prompt had no effect because guidance_scale is 1 or less")
    return tuple(notes)
