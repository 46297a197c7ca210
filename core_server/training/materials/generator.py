"""Parameters to pictures: the batched, seeded renderer of all families."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import fields as dataclass_fields

import torch

from core_server.training.materials.colors import apply_tone, color_table
from core_server.training.materials.conditions import CONDITIONS, apply_finish
from core_server.training.materials.family import FAMILIES, Draw, Surface
from core_server.training.materials.fields import smooth
from core_server.training.materials.params import MaterialParams, allowed_conditions, sample_params
from core_server.training.materials.render import Rendered, apply_style, render

Tensor = torch.Tensor
FAMILY_NAMES: tuple[str, ...] = tuple(FAMILIES)


@torch.no_grad()
def render_materials(
    params: Sequence[MaterialParams],
    *,
    seed: int,
    size: int = 256,
    device: torch.device | str = "cpu",
) -> Rendered:
    """Render a batch of materials of ONE family; the same arguments give the same pictures.

    `size` in pixels, a power of two; from 512 on the pattern repeats more often instead of growing.
    """
    family = params[0].family
    if any(p.family != family for p in params):
        raise ValueError(f"one family a batch, got {sorted({p.family for p in params})}")
    spec = FAMILIES[family]
    rng = random.Random(seed)  # noqa: S311  not secret
    d = Draw(
        len(params),
        size,
        device,
        zlib.crc32(f"{family}/{seed}".encode()),
        _colors([p.color for p in params], [p.tone for p in params], rng, device),
        _colors([p.accent or (spec.accents or ("grey",))[0] for p in params], None, rng, device),
        _column(
            [float(rng.choice(spec.counts[p.size])) if spec.counts else 1.0 for p in params], device
        ),
        [p.layout for p in params],
    )
    surface = _turn(spec.draw(d), [p.turn for p in params])
    for name, condition in CONDITIONS.items():
        hits = [1.0 if name in p.conditions else 0.0 for p in params]
        if any(hits):
            surface = condition(d, surface, _column(hits, device))
            surface.albedo = surface.albedo.clamp(0.004, 0.95)
    surface.albedo = _weathered(d, surface)
    finishes = [p.finish for p in params]
    if any(finishes):
        masks = [
            _column([float(f == name) for f in finishes], device) for name in ("glossy", "rough")
        ]
        surface = apply_finish(d, surface, *masks)
    bump = _column([spec.bump * rng.uniform(0.85, 1.15) for _ in params], device)
    rendered = render(d, surface, bump, _column([float(f == "flat") for f in finishes], device))
    rendered.image = apply_style(d, rendered.image, rendered.height, [p.style for p in params])
    return rendered


def sample_batch(
    rng: random.Random, family: str, count: int, *, held_out: bool = False
) -> list[MaterialParams]:
    """`count` parameter sets of one family; at most two conditions a batch, to render it fast."""
    pool = allowed_conditions(family)
    conditions = rng.sample(pool, min(2, len(pool)))
    return [sample_params(rng, family, conditions, held_out=held_out) for _ in range(count)]


def _colors(
    names: Sequence[str],
    tones: Sequence[str] | None,
    rng: random.Random,
    device: torch.device | str,
) -> Tensor:
    """Named colours with a little variation: (B, 3, 1, 1) linear."""
    table = color_table(names)
    if tones is not None:
        table = torch.stack([apply_tone(c, t) for c, t in zip(table, tones, strict=True)])
    spread = [[rng.uniform(0.95, 1.05) for _ in range(3)] for _ in names]
    gain = [[rng.uniform(0.9, 1.1)] for _ in names]
    return (table * torch.tensor(spread) * torch.tensor(gain)).view(-1, 3, 1, 1).to(device)


def _weathered(d: Draw, surface: Surface) -> Tensor:
    """Albedo as no real surface is without: drifts of tone and warmth, most where it is rough."""
    broad, warm = d.noise2(2.4, 1, 24)
    patch, _ = d.noise2(1.6, 8, 56)
    rough = smooth(0.1, 0.9, surface.roughness) * (1 - 0.5 * surface.metal)
    tone = 1 + (0.012 + 0.028 * rough) * broad.clamp(-2, 2) + 0.035 * rough * patch.clamp(-2, 2)
    drift = (0.006 + 0.02 * rough) * warm.clamp(-2, 2)
    tint = torch.stack([1 + drift, 1 + 0 * drift, 1 - drift], 1)
    return (surface.albedo * tint * tone[:, None]).clamp(0.004, 0.95)


def _column(values: Sequence[float], device: torch.device | str) -> Tensor:
    return torch.tensor(list(values), dtype=torch.float32).view(-1, 1, 1).to(device)


def _turn(surface: Surface, turns: Sequence[str]) -> Surface:
    """Turn samples by 90 degrees (transpose) or lay them at 45 degrees (exact, pixel to pixel).

    (x, y) -> (x + y, y - x) has whole coefficients, so the turned tile is periodic too.
    """
    for turn in set(turns) - {""}:
        index = [i for i, name in enumerate(turns) if name == turn]
        for item in dataclass_fields(surface):
            value = getattr(surface, item.name)
            picked = value[index]
            value = value.clone()
            value[index] = picked.transpose(-1, -2) if turn == "turned" else _diagonal(picked)
            setattr(surface, item.name, value)
    return surface


def _diagonal(value: Tensor) -> Tensor:
    size = value.shape[-1]
    ramp = torch.arange(size, device=value.device)
    x, y = ramp[None, :], ramp[:, None]
    return value[..., (y - x) % size, (x + y) % size]
