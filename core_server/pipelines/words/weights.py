"""Prompt weighting: `a (mossy:1.3) wall` reads "mossy" 1.3 times as strongly.

The syntax is the field's own, `(words:number)`; nested weights multiply, `\\(` is a plain parenthesis. Parentheses
without a number are ordinary text: prompts that know nothing of weights keep their meaning.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

MAX_WEIGHT = 4.0
_LARGEST = 1e6
"""Of a number: infinity times 0 would be no weight."""
_END = re.compile(r":\s*([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*\)")


@dataclass(frozen=True, slots=True)
class Fragment:
    """Text that is read with one weight, 0..MAX_WEIGHT; 1 is as it stands."""

    text: str
    weight: float = 1.0


def fragments(prompt: str) -> tuple[Fragment, ...]:
    """The prompt in pieces, without the syntax; neighbours of the same weight are joined."""
    joined: list[Fragment] = []
    for piece in _pieces(prompt):
        if joined and joined[-1].weight == piece.weight:
            joined[-1] = Fragment(joined[-1].text + piece.text, piece.weight)
        elif piece.text:
            joined.append(piece)
    return tuple(joined)


def plain(prompt: str) -> str:
    """The prompt without weights."""
    return "".join(piece.text for piece in fragments(prompt))


def is_weighted(prompt: str) -> bool:
    """Whether some of it has a weight other than 1."""
    return any(piece.weight != 1.0 for piece in fragments(prompt))


def is_beyond(prompt: str) -> bool:
    """Whether a weight is larger than what is read; it then acts as MAX_WEIGHT."""
    return any(piece.weight > MAX_WEIGHT for piece in _pieces(prompt, math.inf))


def _pieces(text: str, most: float = MAX_WEIGHT) -> list[Fragment]:
    opened, closed = _weighted(text)
    found: list[Fragment] = []
    weights = [1.0]
    start = place = 0
    while place < len(text):
        if _is_escape(text, place):
            found.append(Fragment(text[start:place], weights[-1]))
            start, place = place + 1, place + 2
        elif place in opened:
            found.append(Fragment(text[start:place], weights[-1]))
            weights.append(min(weights[-1] * opened[place], most))
            start = place = place + 1
        elif place in closed:
            found.append(Fragment(text[start:place], weights[-1]))
            weights.pop()
            start = place = closed[place]
        else:
            place += 1
    found.append(Fragment(text[start:], weights[-1]))
    return found


def _weighted(text: str) -> tuple[dict[int, float], dict[int, int]]:
    """Parentheses that end with a number: its value by the place where they open, the place after them by that of the
    colon. In one go and without recursion, since prompts come from anywhere."""
    opened: dict[int, float] = {}
    closed: dict[int, int] = {}
    waiting: list[int] = []
    place = 0
    while place < len(text):
        if _is_escape(text, place):
            place += 1
        elif text[place] == "(":
            waiting.append(place)
        elif text[place] == ")" and waiting:
            opening = waiting.pop()
            colon = text.rfind(":", opening, place)
            match = _END.fullmatch(text, colon, place + 1) if colon >= 0 else None
            if match is not None:
                opened[opening] = min(float(match[1]), _LARGEST)
                closed[colon] = place + 1
        place += 1
    return opened, closed


def _is_escape(text: str, place: int) -> bool:
    return text[place] == "\\" and text[place + 1 : place + 2] in ("(", ")")
