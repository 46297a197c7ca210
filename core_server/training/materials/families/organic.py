"""Liquids, ice and other flowing things."""

from __future__ import annotations

import torch

from core_server.training.materials.family import Draw, Surface, family
from core_server.training.materials.fields import mix, rgb, smooth


@family(
    "water,pool water,water caustics,water surface",
    "liquid",
    "turquoise,teal,blue,sky blue,navy",
    counts=((9,), (6,), (4,)),
)
def water(d: Draw) -> Surface:
    """Bright caustic lines over a clear ground."""
    w = d.noise2(3.0, 1, 12)
    line = d.zeros()
    for scale in (1.0, 1.4):
        cells = d.cells((d.count * scale).round(), None, 0.9, w[0] * 0.02, w[1] * 0.02)
        line = line + torch.exp(-cells.edge * 16)
    swell = d.noise(3, 1, 8)
    albedo = mix(
        d.color * rgb(0.8 + 0.15 * swell), d.color * 0.4 + 0.55, rgb((0.55 * line).clamp(0, 0.95))
    )
    return d.surface(albedo, 0.05 * swell + 0.03 * line, 0.1)


@family(
    "lava,molten lava,magma",
    "liquid",
    "black,charcoal,dark brown",
    counts=((8,), (5,), (3,)),
    accent="glow",
    accents="orange,red,yellow,cyan",
    bump=1.4,
)
def lava(d: Draw) -> Surface:
    """Dark crust over glowing cracks."""
    w = d.noise2(2.8, 2, 30)
    cells = d.cells(d.count, None, 0.95, w[0] * 0.018, w[1] * 0.018)
    crust, rough = smooth(0.03, 0.14, cells.edge), d.noise(1.9, 3, 80)
    core = smooth(0.06, 0.0, cells.edge)
    glow = mix(d.accent * 1.15, d.accent * 1.1 + 0.16, rgb(core))
    dark = d.color * rgb(0.7 + 0.2 * rough)
    halo = d.blur(1 - crust, 8.0)
    albedo = mix(dark + d.accent * rgb(0.35 * halo * crust), glow, rgb(1 - crust))
    return d.surface(albedo, crust * 0.5 + 0.08 * rough * crust, mix(d.zeros() + 0.4, 0.95, crust))


@family("ice,frozen ice,cracked ice,glacier ice", "liquid", "sky blue,cyan,white,mint,turquoise")
def ice(d: Draw) -> Surface:
    """Clear ice with white fractures and clouds of bubbles."""
    albedo = d.color * rgb(0.85 + 0.12 * d.noise(2.8, 1, 16))
    line = d.zeros()
    for scale in (3.0, 6.0):
        w = d.noise2(2.2, 2, 60)
        cells = d.cells(d.zeros() + scale, None, 1.0, w[0] * 0.01, w[1] * 0.01)
        line = line + (4.5 / (scale + 1.5)) * torch.exp(-cells.edge * 34) * smooth(-0.6, 0.6, w[0])
    haze = smooth(0.4, 2.2, d.noise(2.2, 2, 60))
    albedo = mix(albedo, d.color * 0.15 + 0.72, rgb((0.8 * line + 0.4 * haze).clamp(0, 0.95)))
    return d.surface(albedo, 0.04 * d.noise(2.6, 1, 30) - 0.08 * line, 0.1)


@family(
    "camouflage,camo,military camouflage",
    "fabric",
    "olive,khaki,grey,navy,dark green",
    counts=((8,), (4,), (2,)),
)
def camouflage(d: Draw) -> Surface:
    """Four shades around the colour in flowing patches."""
    albedo = d.color * rgb(d.zeros() + 1.2)
    low, high = 1.0, 9.0
    for tone, level, warm in ((0.55, 0.2, 0.8), (1.6, 0.7, 1.15), (0.16, 0.95, 1.0)):
        w = d.noise2(2.4, 2, 30)
        coarse, fine = d.noise(3.2, low, high), d.noise(3.2, low * 2, high * 2)
        n = torch.where(d.count > 4, fine, coarse)
        patch = smooth(level - 0.04, level + 0.04, d.warp(n, w[0] * 0.008, w[1] * 0.008))
        shade = d.color * torch.tensor([warm, 1.0, 0.85], device=d.device).view(1, 3, 1, 1) * tone
        albedo = mix(albedo, shade, rgb(patch))
    weave = d.noise(0.8, 24, 90)
    return d.surface(albedo * rgb(1 + 0.05 * weave), 0.02 * weave, 0.9)


@family("slime,goo,alien skin,organic membrane", "liquid", "lime,green,purple,teal,pink", bump=1.6)
def slime(d: Draw) -> Surface:
    """Wet blobs and strands."""
    w = d.noise2(2.6, 1, 20)
    cells = d.cells(d.choice(7.0, 9.0), None, 1.0, w[0] * 0.04, w[1] * 0.04)
    blob = smooth(0.0, 0.45, cells.edge)
    albedo = d.color * rgb(0.5 + 0.65 * blob)
    return d.surface(albedo, blob * 0.7 + 0.08 * d.noise(3, 2, 16), 0.08)


@family(
    "fur,animal fur,wool fur",
    "fabric",
    "brown,white,grey,black,tan,orange",
    turned="horizontal",
    bump=1.1,
)
def fur(d: Draw) -> Surface:
    """Upright strands in locks."""
    lock = d.noise(2.6, 2, 20, 1, 1.6)
    albedo, height = d.color * rgb(d.zeros() + 0.35), d.zeros()
    for layer in range(4):
        hair = d.warp(
            d.strokes(1.5708 + d.uniform(-0.2, 0.2), d.uniform(0.06, 0.1), 10, 90),
            lock * 0.012,
            0.0,
        )
        on = smooth(0.1, 0.9, hair)
        albedo = mix(
            albedo, d.color * rgb((0.55 + 0.2 * layer) * (0.8 + 0.2 * hair.clamp(0, 3))), rgb(on)
        )
        height = mix(height, 0.12 * layer + 0.08 * hair, on)
    return d.surface(albedo * rgb(1 + 0.1 * lock), height + 0.08 * lock, 0.8)
