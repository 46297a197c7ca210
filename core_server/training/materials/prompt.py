"""Prompts to parameters: what a text asks of the generator, and a picture of it to start from.

The embedded model may start from such a picture: `render_layout` draws it, img2img noises it to a
strength of about 0.6 and finishes it. What the parser does not know is left to the model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from core_server.training.materials.captions import SIZE_WORDS
from core_server.training.materials.colors import COLOR_NAMES, COLOR_SYNONYMS, TONES
from core_server.training.materials.conditions import CONDITION_WORDS, FINISH_WORDS
from core_server.training.materials.family import FAMILIES
from core_server.training.materials.generator import render_materials
from core_server.training.materials.params import MaterialParams, allowed_conditions
from core_server.training.materials.render import STYLE_WORDS, Rendered

#: words outside the families' own that artists use for them
FAMILY_SYNONYMS: dict[str, str] = {
    "brick": "bricks", "masonry": "bricks", "castle": "stone_blocks", "dungeon": "stone_blocks",
    "stone": "stone_blocks", "stone wall": "dry_stone", "cobble": "cobblestone",
    "cobbled": "cobblestone", "pavement": "paving_stones", "sidewalk": "paving_stones",
    "paving": "paving_stones", "slate": "slate_wall", "tile": "square_tiles",
    "bathroom tiles": "square_tiles", "hexagon": "hexagon_tiles", "hexagonal": "hexagon_tiles",
    "honeycomb": "hexagon_tiles", "chessboard": "checkerboard", "checkered": "checkerboard",
    "roof": "roof_tiles", "shingle": "roof_tiles", "scale": "scales", "dragon": "scales",
    "reptile": "scales", "snake skin": "scales", "plank": "wood_planks", "boards": "wood_planks",
    "timber": "wood_planks", "wooden floor": "wood_planks", "wood floor": "wood_planks",
    "wooden": "wood_planks", "oak": "wood_grain", "pine": "wood_grain", "walnut": "wood_grain",
    "mahogany": "wood_grain", "tree": "bark", "basket": "wicker", "straw roof": "thatch",
    "hay": "thatch", "rusted": "rusty_metal", "iron": "rusty_metal", "metal": "brushed_metal",
    "steel": "brushed_metal", "aluminium": "brushed_metal", "aluminum": "brushed_metal",
    "grate": "perforated_metal", "copper": "hammered_metal", "brass": "hammered_metal",
    "bronze": "hammered_metal", "rivets": "riveted_panels", "riveted": "riveted_panels",
    "sci-fi": "scifi_panels", "spaceship": "scifi_panels", "hull": "scifi_panels",
    "fence": "wire_mesh", "mesh": "wire_mesh", "cloth": "woven_fabric", "textile": "woven_fabric",
    "cotton": "woven_fabric", "jeans": "denim", "sack": "burlap", "tartan": "plaid",
    "striped": "stripes", "dotted": "polka_dots", "wool": "knit", "knitted": "knit",
    "sweater": "knit", "skin": "leather", "hide": "leather", "quilted": "quilted",
    "padded": "quilted", "sofa": "quilted", "wallpaper": "damask", "silk": "damask",
    "meadow": "grass", "field": "grass", "leaf": "leaves", "foliage": "leaves", "forest": "leaves",
    "autumn": "leaves", "rubble": "gravel", "pebble": "pebbles", "desert": "sand", "beach": "sand",
    "dune": "sand", "ground": "dirt", "mud": "cracked_mud", "road": "asphalt", "street": "asphalt",
    "stucco": "plaster", "wall": "plaster", "gem": "crystal", "crystals": "crystal",
    "cliff": "rock", "mountain": "rock", "boulder": "rock", "ocean": "water", "sea": "water",
    "lake": "water", "pool": "water", "magma": "lava", "molten": "lava", "volcanic": "lava",
    "frozen": "ice", "camo": "camouflage", "hair": "fur", "fluffy": "fur", "paint": "painted_wall",
    "siding": "wood_siding", "parchment": "paper", "pcb": "circuit_board",
    "electronics": "circuit_board", "glass": "glass_blocks", "rug": "carpet", "cement": "concrete",
    "grassy": "grass", "rocky": "rock", "stony": "stone_blocks", "leathery": "leather",
    "metallic": "brushed_metal", "weave": "woven_fabric", "crate": "wood_planks",
}  # fmt: skip
#: the material that a condition means where no other is named
_ALONE = {
    "mossy": "moss", "rusty": "rusty_metal", "snowy": "snow", "dirty": "dirt", "dusty": "sand",
    "cracked": "cracked_mud",
}  # fmt: skip
#: a material beside another one that is a state of it: "bricks with moss"
_GROWN = {"moss": "mossy", "snow": "snowy", "dirt": "dirty", "rusty_metal": "rusty"}
_ACCENT_WORDS = ("mortar", "grout", "joints", "veins", "chips", "stripes", "dots", "pattern",
                 "traces", "lights", "glow", "holes", "bands", "squares", "background", "ground",
                 "seams", "lines", "trim")  # fmt: skip


@dataclass(frozen=True)
class ParsedPrompt:
    """`params` always renders; `understood` is False if no family was named and one was assumed."""

    params: MaterialParams
    understood: bool
    unknown_words: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """`pixels` (size, size, 3) uint8 sRGB, row 0 at the top; `maps` as the generator made them."""

    pixels: np.ndarray
    parsed: ParsedPrompt
    maps: Rendered


def _fold(word: str) -> str:
    """Lower case without the plural ending, the same for lexicon and prompt."""
    if word == "lights":  # the thing, not the tone
        return word
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _words(text: str) -> list[str]:
    return [_fold(word) for word in re.findall(r"[\w'-]+|,", text.lower())]


def _lexicon() -> dict[tuple[str, ...], tuple[str, str]]:  # noqa: PLR0912  a flat list
    """Folded phrase -> (kind, value)."""
    entries: dict[tuple[str, ...], tuple[str, str]] = {}

    def add(phrase: str, kind: str, value: str) -> None:
        entries.setdefault(tuple(_words(phrase)), (kind, value))

    for color in COLOR_NAMES:
        add(color, "color", color)
    for word, color in COLOR_SYNONYMS.items():
        add(word, "color", color)
    for kind, table in (
        ("condition", CONDITION_WORDS),
        ("finish", FINISH_WORDS),
        ("style", STYLE_WORDS),
        ("size", SIZE_WORDS),
    ):
        for value, words in table.items():
            for word in words:
                add(word, kind, value)
    for tone in TONES:
        add(tone, "tone", tone)
    for word in ("vertical", "horizontal", "diagonal"):
        add(word, "turn", word)
    for word in _ACCENT_WORDS:
        add(word, "accent", word)
    for name, family in FAMILIES.items():
        for phrase in family.words:
            key = tuple(_words(phrase))
            if key not in entries or len(key) > 1:
                entries[key] = ("family", name)
        for layout in family.layouts:
            add(layout, "layout", layout)
    for word, name in FAMILY_SYNONYMS.items():
        add(word, "family", name)
    for word in ("sand", "rust", "gold"):  # a colour and a material: the sentence decides
        entries[(word,)] = ("either", word)
    return entries


_LEXICON = _lexicon()
_LONGEST = max(map(len, _LEXICON))
_EITHER = {"sand": "sand", "rust": "rusty_metal", "gold": "hammered_metal"}
_FILLER = frozenset(
    _words(
        "a an the of and with in on from seamless tileable texture material pbr 4k 8k highly "
        "detailed top down game surface albedo photo photograph realistic background very"
    )
)


def _match(words: list[str]) -> list[tuple[str, str, int]]:
    """The longest phrases from left to right: (kind, value, number of words); unknown as such."""
    found, i = [], 0
    while i < len(words):
        for length in range(min(_LONGEST, len(words) - i), 0, -1):
            hit = _LEXICON.get(tuple(words[i : i + length]))
            if hit:
                found.append((*hit, length))
                i += length
                break
        else:
            found.append(("join" if words[i] in ("with", "and", ",") else "unknown", words[i], 1))
            i += 1
    return found


def _bare(words: list[str], found: list[tuple[str, str, int]]) -> list[str]:
    """The words without colours and the like, which may stand inside a name: "quilted black leather"."""
    bare, at = [], 0
    for kind, _, length in found:
        if kind not in ("color", "tone", "size", "finish"):
            bare += words[at : at + length]
        at += length
    return bare


def _choose_family(found: list[tuple[str, str, int]]) -> tuple[str, bool]:
    """Of the first part (they end at a comma, "with", "and") that names one, the most specific family.

    Of equals the last, as English puts the noun last.
    """
    named: list[tuple[int, int, str]] = []
    for i, (kind, value, length) in enumerate(found):
        if kind == "family":
            named.append((length, i, value))
        elif kind == "join" and named:
            break
    if named:
        return max(named)[2], True
    named_either = [value for kind, value, _ in found if kind == "either"]
    if named_either:
        return _EITHER[named_either[-1]], True
    alone = [_ALONE[value] for kind, value, _ in found if kind == "condition" and value in _ALONE]
    return (alone[0], True) if alone else ("plaster", False)


def _grown(found: list[tuple[str, str, int]], name: str) -> list[tuple[str, str, int]]:
    """Other materials than `name` as its conditions, where they can be: the moss of "bricks, moss"."""
    allowed = allowed_conditions(name)
    return [
        ("condition", _GROWN[value], length)
        if kind == "family" and name != value and _GROWN.get(value) in allowed
        else (kind, value, length)
        for kind, value, length in found
    ]


def parse_prompt(prompt: str) -> ParsedPrompt:  # noqa: PLR0912  one branch a kind of word
    """Read family, colours, size, orientation, wear, finish and style out of a prompt."""
    words = _words(prompt)
    found = _match(words)
    name, understood = _choose_family(_match(_bare(words, found)))
    found = _grown(found, name)
    spec = FAMILIES[name]
    params = MaterialParams(name, spec.colors[0])
    only_either = not any(kind == "family" for kind, _, _ in found)
    colors: list[str] = []
    accent, unknown = "", []
    for i, (kind, value, _) in enumerate(found):
        following = found[i + 1][0] if i + 1 < len(found) else ""
        if kind == "color" or (kind == "either" and not only_either):
            if following == "accent":
                accent = value
            else:
                colors.append(value)
        elif kind == "tone":
            params = replace(params, tone=value)
        elif kind == "size":
            params = replace(params, size=value if spec.counts else "")
        elif kind == "layout" and value in spec.layouts:
            params = replace(params, layout=value)
        elif kind == "turn":
            turn = "diagonal" if value == "diagonal" and spec.diagonal else ""
            params = replace(params, turn="turned" if value == spec.turned else turn)
        elif kind == "condition" and value not in params.conditions and _ALONE.get(value) != name:
            params = replace(params, conditions=(*params.conditions, value)[:3])
        elif kind == "finish":
            params = replace(params, finish=value)
        elif kind == "style":
            params = replace(params, style=value)
        elif kind == "unknown" and value not in _FILLER:
            unknown.append(value)
    if colors:
        params = replace(params, color=colors[0], natural=False)
    if not accent and len(colors) > 1 and spec.accent:
        accent = colors[1]
    return ParsedPrompt(replace(params, accent=accent), understood, tuple(unknown))


def render_layout(prompt: str, *, size: int = 256, seed: int = 0) -> Layout:
    """Draw what `prompt` asks for with the procedural generator, on the CPU in 20 to 150 ms.

    size: pixels, a power of two of at least 64. The same prompt and seed give the same picture.
    """
    if size < 64 or size & (size - 1):
        raise ValueError(f"size must be a power of two of at least 64, got {size}")
    parsed = parse_prompt(prompt)
    maps = render_materials([parsed.params], seed=seed, size=size)
    pixels = (maps.image[0].permute(1, 2, 0) * 255 + 0.5).byte().numpy()
    return Layout(pixels, parsed, maps)
