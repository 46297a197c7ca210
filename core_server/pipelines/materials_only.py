"""What a model that makes nothing but materials says about prompts for something else."""

from __future__ import annotations

from core_server.pipelines.settings import Settings
from core_server.pipelines.task import ModelProfile

_SHOWN = 6
_MORE = (
    "`scumble models list --all` shows models that paint more, `scumble models install` adds one"
)


def materials_notes(profile: ModelProfile, settings: Settings) -> tuple[str, ...]:
    """A note for the recipe if the prompt names no material that the model knows, or has words that are new to it."""
    if not profile.only_materials or not settings.prompt.strip():
        return ()
    from core_server.training.materials import parse_prompt  # noqa: PLC0415  only for such models

    parsed = parse_prompt(settings.prompt)
    words = list(dict.fromkeys(parsed.unknown_words))
    unknown = ", ".join(words[:_SHOWN]) + (" ..." if len(words) > _SHOWN else "")
    if not parsed.understood:
        return (
            "this model only makes materials and found none that it knows in the prompt, so it painted the nearest "
            f"it has; {_MORE}",
        )
    if words:
        return (f"this model only makes materials and does not know: {unknown}; {_MORE}",)
    return ()
