"""The parameters of one material, and how training draws them."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass

from core_server.training.materials import families as _families  # noqa: F401  registers them
from core_server.training.materials.colors import COLOR_NAMES, TONES
from core_server.training.materials.conditions import CONDITION_EXCLUDES, CONDITIONS, RUST_GROUPS
from core_server.training.materials.family import FAMILIES, Family
from core_server.training.materials.render import STYLES


@dataclass(frozen=True)
class MaterialParams:
    """Everything that decides what a material looks like, apart from the seed.

    Empty strings mean the family's default, which captions leave unsaid. `turn` is "", "turned"
    or "diagonal". `natural` says that the colour was drawn as the family's own.
    """

    family: str
    color: str
    tone: str = ""
    accent: str = ""
    size: str = ""
    layout: str = ""
    turn: str = ""
    conditions: tuple[str, ...] = ()
    finish: str = ""
    style: str = ""
    natural: bool = True

    @property
    def spec(self) -> Family:
        """The family's description."""
        return FAMILIES[self.family]


def is_held_out(family: str, color: str) -> bool:
    """About 5 % of the colour x family pairs, never natural ones, are kept from training."""
    if color in FAMILIES[family].colors:
        return False
    return zlib.crc32(f"{family}/{color}".encode()) % 20 == 0


def allowed_conditions(family: str) -> list[str]:
    """The conditions that make sense on a family."""
    spec = FAMILIES[family]
    return [
        name
        for name in CONDITIONS
        if family not in CONDITION_EXCLUDES.get(name, ())
        and (name != "rusty" or spec.group in RUST_GROUPS)
    ]


def sample_params(
    rng: random.Random,
    family: str,
    conditions: list[str] | None = None,
    *,
    held_out: bool = False,
) -> MaterialParams:
    """Draw the parameters of one training picture.

    Defaults are common (about 90 % for orientation, 70 % for size) so that an unsaid attribute has
    one meaning. `conditions` limits which may be drawn; `held_out` allows the kept-back pairs.
    """
    spec = FAMILIES[family]
    natural = rng.random() < 0.4
    if natural:
        # The first colour is what a prompt without one means, so it is drawn most.
        color = spec.colors[0] if rng.random() < 0.6 else rng.choice(spec.colors)
    else:
        color = rng.choice(COLOR_NAMES)
        while not held_out and is_held_out(family, color):
            color = rng.choice(COLOR_NAMES)
    tone = rng.choice(list(TONES)) if rng.random() < 0.1 else ""
    if conditions is None:
        pool = allowed_conditions(family)
        conditions = rng.sample(pool, min(2, len(pool)))
    chosen = [name for name in conditions if rng.random() < 0.2]
    turn = ""
    if spec.turned and rng.random() < 0.1:
        turn = "turned"
    elif spec.diagonal and rng.random() < 0.07:
        turn = "diagonal"
    return MaterialParams(
        family=family,
        color=color,
        tone=tone,
        accent=_sample_accent(rng, spec),
        size=rng.choice(("small", "large")) if spec.counts and rng.random() < 0.3 else "",
        layout=rng.choice(spec.layouts) if spec.layouts and rng.random() < 0.25 else "",
        turn=turn,
        conditions=tuple(chosen),
        finish=rng.choice(("glossy", "rough", "flat")) if rng.random() < 0.12 else "",
        style=rng.choice(STYLES) if rng.random() < 0.06 else "",
        natural=natural,
    )


def _sample_accent(rng: random.Random, spec: Family) -> str:
    draw = rng.random()
    if not spec.accents or draw < 0.55:
        return ""
    return rng.choice(spec.accents) if draw < 0.85 else rng.choice(COLOR_NAMES)
