"""Prompt weighting: `a (mossy:1.3) wall` reads "mossy" 1.3 times as strongly.

The syntax is the field's own, `(words:number)`; nested weights multiply, `\\(` is a plain parenthesis. Parentheses
without a number are ordinary text: prompts that know nothing of weights keep their meaning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_WEIGHT = 4.0
_END = re.compile(r":\s*([0-9]*\.?[0-9]+)\s*\)")


@dataclass(frozen=True, slots=True)
class Fragment:
    """Text that is read with one weight, 0..MAX_WEIGHT; 1 is as it stands."""

    text: str
    weight: float = 1.0


def fragments(prompt: str) -> tuple[Fragment, ...]:
    """The prompt in pieces, without the syntax; neighbours of the same weight are joined."""
    found: list[Fragment] = []
    _parse(prompt, 1.0, found)
    joined: list[Fragment] = []
    for piece in found:
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


def _parse(text: str, weight: float, found: list[Fragment]) -> None:
    start = place = 0
    while place < len(text):
        if text[place] == "\\" and text[place + 1 : place + 2] in ("(", ")"):
            found.append(Fragment(text[start:place], weight))
            start, place = place + 1, place + 2
        elif text[place] == "(" and (end := _closing(text, place)) is not None:
            inner, number, after = end
            found.append(Fragment(text[start:place], weight))
            _parse(inner, min(weight * number, MAX_WEIGHT), found)
            start = place = after
        else:
            place += 1
    found.append(Fragment(text[start:], weight))


def _closing(text: str, opening: int) -> tuple[str, float, int] | None:
    """(inside, weight, place after it) of the parenthesis at `opening`, if it ends with a number."""
    depth, place = 0, opening
    while place < len(text):
        if text[place] == "\\":
            place += 2
            continue
        if text[place] == "(":
            depth += 1
        elif text[place] == ")":
            depth -= 1
            if depth == 0:
                break
        place += 1
    else:
        return None
    colon = text.rfind(":", opening, place)
    match = _END.fullmatch(text, colon, place + 1) if colon >= 0 else None
    return None if match is None else (text[opening + 1 : colon], float(match[1]), place + 1)
