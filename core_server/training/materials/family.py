"""What a material family is: its words, its parameters and the function that draws it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from core_server.training.materials.fields import Fields, rgb

Tensor = torch.Tensor


@dataclass
class Surface:
    """A material before light: linear albedo (B, 3, S, S), the rest (B, S, S).

    `height` counts 5 px of a 256 px tile as 1; roughness and metal are in [0, 1].
    """

    albedo: Tensor
    height: Tensor
    roughness: Tensor
    metal: Tensor


class Draw(Fields):
    """The fields of one batch plus the parameters asked for; a family function reads only this.

    `color`, `accent`: (B, 3, 1, 1) linear albedo. `count`: (B, 1, 1) repeats of the pattern.
    """

    def __init__(  # noqa: PLR0917
        self,
        batch: int,
        size: int,
        device: torch.device | str,
        seed: int,
        color: Tensor,
        accent: Tensor,
        count: Tensor,
        layouts: list[str],
    ) -> None:
        super().__init__(batch, size, device, seed)
        self.color, self.accent, self.count, self.layouts = color, accent, count, layouts

    def flag(self, layout: str) -> Tensor:
        """1 where the sample's layout is `layout`, else 0: (B, 1, 1)."""
        hits = [1.0 if name == layout else 0.0 for name in self.layouts]
        return torch.tensor(hits, device=self.device).view(-1, 1, 1)

    def shade_cells(self, base: Tensor, ids: Tensor, spread: float, hue: float = 0.12) -> Tensor:
        """`base` varied per cell: brightness by +-spread/2, warm/cool by +-hue/2."""
        value, warm = self.per_cell(ids) - 0.5, self.per_cell(ids) - 0.5
        tint = torch.stack([1 + hue * warm, torch.ones_like(warm), 1 - hue * warm], 1)
        return base * rgb(1 + spread * value) * tint

    def surface(
        self,
        albedo: Tensor,
        height: Tensor,
        roughness: Tensor | float,
        metal: Tensor | float = 0.0,
    ) -> Surface:
        """A `Surface` with scalars spread to maps and the albedo kept inside [0.004, 0.95]."""
        flat = self.zeros()
        return Surface(
            (albedo + flat[:, None]).clamp(0.004, 0.95),
            height + flat,
            (roughness + flat).clamp(0.03, 1),
            (metal + flat).clamp(0, 1),
        )


@dataclass(frozen=True)
class Family:
    """One kind of material.

    `counts`: repeats per 256 px tile for the sizes small, default and large (empty: no sizes).
    `turned`: the word for the pattern turned by 90 degrees; `diagonal`: may be drawn at 45 degrees.
    `accent`: the word of the second colour ("mortar") and `accents` its usual colours, the first
    being the default that captions leave unsaid. `colors`: natural colours, meant when none is
    named. `layouts`: named variants besides the plain one.
    """

    name: str
    words: tuple[str, ...]
    draw: Callable[[Draw], Surface]
    group: str
    colors: tuple[str, ...]
    counts: dict[str, tuple[int, ...]] = field(default_factory=dict)
    turned: str = ""
    diagonal: bool = False
    accent: str = ""
    accents: tuple[str, ...] = ()
    layouts: tuple[str, ...] = ()
    bump: float = 1.0


FAMILIES: dict[str, Family] = {}


def family(
    words: str,
    group: str,
    colors: str,
    *,
    counts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]] | None = None,
    turned: str = "",
    diagonal: bool = False,
    accent: str = "",
    accents: str = "",
    layouts: str = "",
    bump: float = 1.0,
) -> Callable[[Callable[[Draw], Surface]], Callable[[Draw], Surface]]:
    """Register the decorated function as a family; lists are comma separated words."""

    def register(draw: Callable[[Draw], Surface]) -> Callable[[Draw], Surface]:
        name = draw.__name__
        sizes = dict(zip(("small", "", "large"), counts, strict=True)) if counts else {}
        FAMILIES[name] = Family(
            name,
            _split(words),
            draw,
            group,
            _split(colors),
            sizes,
            turned,
            diagonal,
            accent,
            _split(accents),
            _split(layouts),
            bump,
        )
        return draw

    return register


def _split(words: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in words.split(",") if word.strip())
