"""Captions from parameters: what was drawn, in the words an artist would use."""

from __future__ import annotations

import random

from core_server.training.materials.colors import COLOR_SYNONYMS
from core_server.training.materials.conditions import CONDITION_WORDS, FINISH_WORDS
from core_server.training.materials.params import MaterialParams
from core_server.training.materials.render import STYLE_WORDS

SIZE_WORDS: dict[str, tuple[str, ...]] = {
    "small": ("small", "small", "tiny", "fine"),
    "large": ("large", "large", "big", "wide"),
}
FILLER: tuple[str, ...] = (
    "seamless", "tileable", "texture", "material", "seamless texture", "pbr", "pbr material",
    "4k", "8k", "highly detailed", "top down", "game texture", "surface", "albedo",
)  # fmt: skip
_BY_COLOR: dict[str, list[str]] = {}
for _word, _name in COLOR_SYNONYMS.items():
    _BY_COLOR.setdefault(_name, []).append(_word)


def color_words(color: str) -> list[str]:
    """The name itself and its synonyms."""
    return [color, *_BY_COLOR.get(color, [])]


def orientation_word(params: MaterialParams) -> str:
    """The word for the pattern's direction, also for the default one (which may go unsaid)."""
    spec = params.spec
    if params.turn == "diagonal":
        return "diagonal"
    if params.turn == "turned":
        return spec.turned
    return {"vertical": "horizontal", "horizontal": "vertical"}.get(spec.turned, "")


def caption(params: MaterialParams, rng: random.Random) -> str:
    """One caption. Whatever departs from the default is said in 99 of 100 captions.

    That goes for the colour too: only the family's first one may go unsaid, else a prompt without
    a colour would ask for the average of several.
    """

    def said(departs: bool, default_chance: float = 0.0) -> bool:
        return rng.random() < (0.99 if departs else default_chance)

    spec = params.spec
    noun = rng.choice(spec.words) if rng.random() < 0.5 else spec.words[0]
    plain = not (params.conditions or params.tone or params.accent or params.size)
    plain = plain and not (params.layout or params.turn or params.finish or params.style)
    usual = params.color == spec.colors[0]
    if plain and usual and rng.random() < 0.35:
        return noun

    color = ""
    if said(not usual or bool(params.tone), 0.5):
        word = params.color if rng.random() < 0.8 else rng.choice(color_words(params.color))
        color = f"{params.tone} {word}".strip()
    before: list[str] = []
    if params.size and said(True):
        before.append(rng.choice(SIZE_WORDS[params.size]))
    if params.layout and said(True):
        before.append(params.layout)
    if said(bool(params.turn), 0.06) and (orientation := orientation_word(params)):
        before.append(orientation)
    for name in params.conditions:
        if said(True):
            before.append(_variant(CONDITION_WORDS[name], rng))
    if params.finish and said(True):
        before.append(_variant(FINISH_WORDS[params.finish], rng))
    rng.shuffle(before)
    after: list[str] = []
    if spec.accent and said(bool(params.accent), 0.3):
        accent = params.accent or spec.accents[0]
        after.append(f"{rng.choice(('with', 'with', 'and'))} {accent} {spec.accent}")
    trailing = [before.pop()] if before and rng.random() < 0.2 else []
    if params.style and said(True):
        style = _variant(STYLE_WORDS[params.style], rng)
        (before.insert(0, style) if rng.random() < 0.7 else trailing.append(style))
    head = [*before, color] if rng.random() < 0.85 else [color, *before]
    if rng.random() < 0.08 and color:
        head, after = before, [*after, f"in {color}"]
    text = " ".join(word for word in (*head, noun, *after) if word)
    if rng.random() < 0.22:
        filler = rng.choice(FILLER)
        text = f"{filler} of {text}" if "texture" in filler else f"{text}, {filler}"
    return ", ".join([text, *trailing])


def _variant(words: tuple[str, ...], rng: random.Random) -> str:
    """The plain word most of the time, else a synonym."""
    return words[0] if rng.random() < 0.6 else rng.choice(words)
