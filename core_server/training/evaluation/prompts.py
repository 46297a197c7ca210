"""The fixed questions of the evaluation: drawn by a rule, never picked."""

from __future__ import annotations

import random
from dataclasses import dataclass

from core_server.training.evaluation.data import family_title
from core_server.training.materials import FAMILY_NAMES, is_held_out
from core_server.training.materials.colors import COLOR_NAMES

SEED = 20_221_124
SEEN_EACH, UNSEEN_EACH = 2, 2


@dataclass(frozen=True)
class Question:
    """`prompt` is "COLOUR FAMILY"; `seen`: training had the pair; `seed`: of the picture."""

    prompt: str
    family: str
    color: str
    seen: bool
    seed: int


def questions(count: int | None = None) -> list[Question]:
    """For every family two pairs that training saw and up to two that it never saw.

    Colours are the first of an order drawn per family from one fixed seed. `count` keeps so many,
    spread evenly over the list.
    """
    rng = random.Random(SEED)  # noqa: S311  not secret
    found: list[Question] = []
    for family in FAMILY_NAMES:
        colors = rng.sample(COLOR_NAMES, len(COLOR_NAMES))
        kept_back = [color for color in colors if is_held_out(family, color)]
        seen = [color for color in colors if color not in kept_back]
        for color in seen[:SEEN_EACH] + kept_back[:UNSEEN_EACH]:
            prompt = f"{color} {family_title(family)}"
            found.append(Question(prompt, family, color, color in seen, 1000 + len(found)))
    if count is None or count >= len(found):
        return found
    return [found[i * len(found) // count] for i in range(count)]
