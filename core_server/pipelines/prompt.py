"""What a model's text encoder really reads of a prompt."""

from __future__ import annotations

from transformers import CLIPTokenizer

from core_server.pipelines.conditioning import (
    conditioning_notes,
    longest_tokens,
    reads_windows,
)
from core_server.pipelines.materials_only import materials_notes
from core_server.pipelines.model import LoadedModel
from core_server.pipelines.settings import Settings
from core_server.pipelines.words.weights import plain

_LONGEST = 1000
"""Tokens; what says that it can read more than that says that it has no limit."""


def prompt_notes(model: LoadedModel, settings: Settings) -> tuple[str, ...]:
    """Notes for the recipe: what was cut off, and what has no effect."""
    notes = [*materials_notes(model.profile, settings), *conditioning_notes(model, settings)]
    most = model.family.prompt_tokens[1]
    if not most or model.family.tokenizers[-1] not in model.tokenizers:
        notes += _windows_read(model, settings)
    elif (tokens := longest_tokens(model, settings)) > most:
        notes.append(f"the prompt has {tokens} tokens; this model read the first {most}")
    if settings.negative_prompt and not model.family.negative_prompt:
        notes.append(f"negative_prompt had no effect: {model.family.title} reads none")
        return tuple(notes)
    if settings.negative_prompt and settings.guidance_scale <= 1:
        notes.append("negative_prompt had no effect because guidance_scale is 1 or less")
    return tuple(notes)


def _windows_read(model: LoadedModel, settings: Settings) -> list[str]:
    """What CLIP read where it is all that reads."""
    notes = []
    windows = reads_windows(model)
    texts = (("prompt", settings.prompt), ("negative_prompt", settings.negative_prompt))
    for name, text in texts:
        for tokenizer in model.tokenizers.values():
            longest = int(tokenizer.model_max_length)
            if not isinstance(tokenizer, CLIPTokenizer) or longest > _LONGEST:
                continue
            tokens = len(tokenizer(plain(text), truncation=False).input_ids) - 2
            window = longest - 2
            if tokens > window:
                read = f"in {-(-tokens // window)} windows of" if windows else "the first"
                notes.append(f"the {name} has {tokens} tokens; this model read {read} {window}")
                break
    return notes
