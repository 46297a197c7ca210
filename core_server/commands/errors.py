"""What a command says when it cannot go on."""

from __future__ import annotations


class CommandError(Exception):
    """The message is the one line the artist sees."""


def last_words(output: str) -> str:
    """The last line that a program printed before it failed: its reason, by our own programs' habit."""
    lines = output.strip().splitlines()
    return lines[-1].removeprefix("scumble: ") if lines else "it said nothing"
