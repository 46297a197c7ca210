"""Wildcards: `{oak|pine|birch} planks` becomes one of its choices, the same one for the same seed."""

from __future__ import annotations

import hashlib
import re

from core_server.errors import InvalidRequest

MAX_ROUNDS = 100
_INNERMOST = re.compile(r"(?<!\\)\{([^{}|]*(?:\|[^{}|]*)+)\}")


def expand(text: str, seed: int, field: str = "parameters.prompt") -> str:
    """Every `{a|b}` replaced by one of its choices, inner ones first; choices may be empty and may nest.

    The choice depends on seed and place alone, on every machine and in every version (SHA-256, not a library's random
    numbers). Braces without a "|" are ordinary text, and so is `\\{`. Errors: InvalidRequest for endless nesting.
    """
    for drawn in range(MAX_ROUNDS):
        match = _INNERMOST.search(text)
        if match is None:
            return text
        choices = match[1].split("|")
        digest = hashlib.sha256(f"{seed}:{drawn}".encode()).digest()
        chosen = choices[int.from_bytes(digest[:8], "big") % len(choices)]
        text = text[: match.start()] + chosen + text[match.end() :]
    raise InvalidRequest(
        field,
        f"The prompt has more than {MAX_ROUNDS} wildcards; use fewer.",
        allowed=f"at most {MAX_ROUNDS}",
    )


def has_wildcards(text: str) -> bool:
    """Whether `expand` would choose anything."""
    return _INNERMOST.search(text) is not None
