"""Styles: prompt templates with `{prompt}` in them, the shipped ones and the user's `styles.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from core_server.errors import InvalidRequest

SHIPPED = Path(__file__).with_name("styles.json")
OWN = "styles.json"
PLACE = "{prompt}"


@dataclass(frozen=True, slots=True)
class Style:
    """prompt: with `{prompt}` where the artist's words go. negative_prompt: added to theirs. is_own: from the user."""

    name: str
    prompt: str
    negative_prompt: str = ""
    is_own: bool = False

    def apply(self, prompt: str, negative_prompt: str) -> tuple[str, str]:
        """Both prompts in this style."""
        negatives = [text for text in (negative_prompt, self.negative_prompt) if text.strip()]
        return self.prompt.replace(PLACE, prompt), ", ".join(negatives)


class Styles:
    """The styles of a data folder; one of the user's hides a shipped one of the same name."""

    def __init__(self, data_dir: Path) -> None:
        self._own = data_dir / OWN

    def all(self) -> Mapping[str, Style]:
        """By name. Errors: InvalidRequest for a broken styles.json."""
        if not self._own.is_file():
            return _shipped()
        try:
            content = json.loads(self._own.read_text(encoding="utf-8"))
            own = {name: _style(name, entry, is_own=True) for name, entry in content.items()}
        except (ValueError, OSError, AttributeError, TypeError, KeyError) as error:
            raise InvalidRequest(
                "parameters.style",
                f"{self._own} is broken ({error}); it is an object such as "
                '{"my style": {"prompt": "{prompt}, in watercolour", "negative_prompt": "photo"}}.',
            ) from error
        return {**_shipped(), **own}

    def find(self, name: str) -> Style:
        """The style of that name. Errors: InvalidRequest with all names."""
        styles = self.all()
        if name not in styles:
            raise InvalidRequest(
                "parameters.style",
                f"There is no style {name!r}; there are {', '.join(styles)}. Own ones go into styles.json in the data "
                "folder.",
                allowed=", ".join(styles),
            )
        return styles[name]


@cache
def _shipped() -> Mapping[str, Style]:
    content = json.loads(SHIPPED.read_text(encoding="utf-8"))
    return {name: _style(name, entry) for name, entry in content.items()}


def _style(name: str, entry: object, *, is_own: bool = False) -> Style:
    if isinstance(entry, str):
        entry = {"prompt": entry}
    if not isinstance(entry, dict):
        raise ValueError(f"{name!r} is neither a text nor an object")
    prompt, negative = entry["prompt"], entry.get("negative_prompt", "")
    if not isinstance(prompt, str) or not isinstance(negative, str) or PLACE not in prompt:
        raise ValueError(f"{name!r} has no {PLACE} in its prompt")
    return Style(name, prompt, negative, is_own)
