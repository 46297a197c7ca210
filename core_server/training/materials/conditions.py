"""Wear, weather and finish laid over any material."""

from __future__ import annotations

from collections.abc import Callable

import torch

from core_server.training.materials.families.metal import rust_layer
from core_server.training.materials.family import Draw, Surface
from core_server.training.materials.fields import Tensor, mix, rgb, smooth

#: word -> synonyms used in captions and understood in prompts
CONDITION_WORDS: dict[str, tuple[str, ...]] = {
    "dirty": ("dirty", "grimy", "muddy"),
    "mossy": ("mossy", "moss covered", "overgrown"),
    "cracked": ("cracked", "damaged", "fractured"),
    "wet": ("wet", "damp", "rainy"),
    "faded": ("faded", "bleached", "sun bleached"),
    "scratched": ("scratched", "scuffed"),
    "snowy": ("snowy", "snow covered", "frosty"),
    "burnt": ("burnt", "charred", "scorched"),
    "dusty": ("dusty", "sandy"),
    "stained": ("stained", "water stained", "streaked"),
    "worn": ("worn", "old", "weathered", "aged"),
    "rusty": ("rusty", "rusted"),
}
FINISH_WORDS: dict[str, tuple[str, ...]] = {
    "glossy": ("glossy", "polished", "shiny", "glazed"),
    "rough": ("rough", "coarse", "gritty"),
    "flat": ("matte", "flat lit"),
}
#: families that already are what the condition says, or on which it makes no sense
CONDITION_EXCLUDES: dict[str, tuple[str, ...]] = {
    "rusty": ("rusty_metal", "painted_metal"),
    "snowy": ("snow", "ice"),
    "mossy": ("moss", "grass"),
    "cracked": ("cracked_mud", "lava", "ice", "water", "grass", "moss", "fur", "leaves", "gravel"),
    "scratched": ("water", "grass", "moss", "snow", "lava", "leaves", "fur", "gravel"),
    "dusty": ("sand", "water", "dirt"),
    "dirty": ("dirt", "water"),
}
RUST_GROUPS = ("metal",)


def _tint(s: Surface, color: tuple[float, float, float], gain: Tensor | None = None) -> Tensor:
    value = s.albedo.new_tensor(color).view(1, 3, 1, 1)
    return value if gain is None else value * rgb(gain)


def _over(
    s: Surface, mask: Tensor, albedo: Tensor, roughness: float, lift: Tensor | float
) -> Surface:
    return Surface(
        mix(s.albedo, albedo, rgb(mask)),
        s.height + mask * lift,
        mix(s.roughness, roughness, mask),
        s.metal * (1 - mask),
    )


def _hollows(s: Surface) -> Tensor:
    low, high = s.height.amin((1, 2), True), s.height.amax((1, 2), True)
    return 1 - (s.height - low) / (high - low + 0.15)


def dirty(d: Draw, s: Surface, on: Tensor) -> Surface:
    n, fine = d.noise2(2.4, 1, 80)
    mask = on * smooth(-0.5, 1.4, n + 0.9 * _hollows(s) - 0.3) * 0.8
    return _over(s, mask, _tint(s, (0.09, 0.056, 0.03), (1 + 0.25 * fine).clamp(0.3, 2)), 0.95, 0.0)


def mossy(d: Draw, s: Surface, on: Tensor) -> Surface:
    n, fine = d.noise(2.3, 1, 70), d.noise(1.2, 8, 90)
    mask = on * smooth(0.0, 0.5, n + 0.8 * _hollows(s) - 0.35)
    green = mix(
        _tint(s, (0.03, 0.065, 0.012)), _tint(s, (0.15, 0.24, 0.04)), rgb(smooth(-1.5, 1.8, fine))
    )
    return _over(s, mask, green, 1.0, 0.08 + 0.05 * fine)


def cracked(d: Draw, s: Surface, on: Tensor) -> Surface:
    w = d.noise2(2.6, 2, 60)
    cells = d.cells(d.choice(3.0, 4.0), None, 1.0, w[0] * 0.025, w[1] * 0.025)
    cover = smooth(-0.7, 0.3, d.noise(2.8, 1, 6))
    width = 0.012 + 0.012 * cover
    crack = on * cover * (1 - smooth(width * 0.4, width * 1.6, cells.edge))
    return Surface(s.albedo * rgb(1 - 0.85 * crack), s.height - 0.4 * crack, s.roughness, s.metal)


def wet(d: Draw, s: Surface, on: Tensor) -> Surface:
    mask = on * smooth(-1.2, 0.0, d.noise(2.8, 1, 12) + 0.4 * _hollows(s))
    return Surface(s.albedo * rgb(1 - 0.45 * mask), s.height, mix(s.roughness, 0.08, mask), s.metal)


def faded(d: Draw, s: Surface, on: Tensor) -> Surface:
    grey = s.albedo.mean(1, True)
    pale = mix(s.albedo, grey, 0.55) * 0.62 + 0.25
    mask = on * (0.7 + 0.3 * smooth(-1, 1, d.noise(2.6, 1, 16)))
    return Surface(mix(s.albedo, pale, rgb(mask)), s.height, mix(s.roughness, 0.92, on), s.metal)


def scratched(d: Draw, s: Surface, on: Tensor) -> Surface:
    mask = d.zeros()
    for _ in range(3):
        line = d.strokes(d.uniform(0, 3.14), d.uniform(0.12, 0.3), 5, 90)
        mask = torch.maximum(mask, smooth(2.1, 2.9, line))
    mask = mask * on
    return Surface(
        mix(s.albedo, s.albedo * 0.5 + 0.33, rgb(0.85 * mask)),
        s.height - 0.05 * mask,
        s.roughness,
        s.metal,
    )


def snowy(d: Draw, s: Surface, on: Tensor) -> Surface:
    n, soft = d.noise2(2.8, 1, 40)
    mask = on * smooth(-0.2, 0.35, n + 0.4 - 0.8 * _hollows(s))
    return _over(s, mask, _tint(s, (0.8, 0.84, 0.9), 1 + 0.03 * soft), 0.85, 0.18 + 0.03 * soft)


def burnt(d: Draw, s: Surface, on: Tensor) -> Surface:
    n, fine = d.noise2(2.5, 1, 60)
    mask = on * smooth(-0.4, 0.7, n) * 0.95
    return _over(
        s, mask, _tint(s, (0.014, 0.012, 0.011), (1 + 0.4 * fine).clamp(0.2, 2)), 0.95, 0.0
    )


def dusty(d: Draw, s: Surface, on: Tensor) -> Surface:
    n, fine = d.noise2(2.4, 1, 80)
    mask = on * (0.3 + 0.55 * smooth(-0.8, 1.0, n))
    return _over(s, mask, _tint(s, (0.42, 0.34, 0.24), 1 + 0.05 * fine), 0.97, 0.0)


def stained(d: Draw, s: Surface, on: Tensor) -> Surface:
    streak = d.noise(2.2, 1, 50, 1, 5)
    blotch = d.noise(2.6, 1, 20)
    mask = on * smooth(0.1, 1.4, 0.75 * streak + 0.5 * blotch) * 0.7
    return Surface(
        s.albedo * mix(1 + 0 * s.albedo, _tint(s, (0.38, 0.3, 0.2)), rgb(mask)),
        s.height,
        s.roughness,
        s.metal,
    )


def worn(d: Draw, s: Surface, on: Tensor) -> Surface:
    n, fine = d.noise2(2.2, 2, 80)
    top = 1 - _hollows(s)
    bare = on * smooth(0.6, 1.5, n + 0.8 * top - 0.2)
    grime = on * smooth(0.0, 1.6, 0.6 * fine + 1.3 * _hollows(s) - 0.2) * 0.5
    albedo = mix(s.albedo, s.albedo.mean(1, True) * 0.4 + s.albedo * 0.5 + 0.1, rgb(0.6 * bare))
    albedo = albedo * rgb((1 - 0.55 * grime) * (1 + 0.06 * on * fine))
    return Surface(
        albedo, s.height - 0.05 * bare + 0.02 * on * fine, mix(s.roughness, 0.85, on * 0.7), s.metal
    )


def rusty(d: Draw, s: Surface, on: Tensor) -> Surface:
    n = d.noise(2.5, 1, 80)
    oxide, fine = rust_layer(d)
    mask = on * smooth(-0.1, 0.35, n + 0.5 * _hollows(s) - 0.2)
    return _over(s, mask, oxide, 0.92, 0.05 + 0.03 * fine)


CONDITIONS: dict[str, Callable[[Draw, Surface, Tensor], Surface]] = {
    function.__name__: function
    for function in (
        dirty, mossy, cracked, wet, faded, scratched, snowy, burnt, dusty, stained, worn, rusty,
    )
}  # fmt: skip


def apply_finish(d: Draw, s: Surface, glossy: Tensor, rough: Tensor) -> Surface:
    """Glossy smooths and polishes, rough adds grit; both masks (B, 1, 1) in {0, 1}."""
    grit = d.noise(1.3, 8, 90)
    return Surface(
        s.albedo * rgb(1 + 0.07 * rough * grit),
        s.height + 0.06 * rough * grit,
        mix(mix(s.roughness, 0.08, glossy), 0.98, rough),
        s.metal,
    )
