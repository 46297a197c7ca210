"""Soil, stones and plants under foot."""

from __future__ import annotations

import torch

from core_server.training.materials.family import Draw, Surface, family
from core_server.training.materials.fields import mix, rgb, smooth


@family("grass,lawn,turf,meadow grass", "ground", "green,dark green,olive,lime", bump=1.1)
def grass(d: Draw) -> Surface:
    """Tapered blades growing upwards in tufts, dark at the foot and lit at the tip."""
    clump = d.noise(2.6, 1, 12)
    light, hue, height = 0.22 + 0.03 * clump, d.zeros() + 0.5, d.zeros()
    for layer, n in enumerate((10.0, 9.0, 8.0, 8.0)):
        for blade in d.scatter(n, angle=-1.5708, spread=0.85):
            size, tone, tint = blade.random
            t = blade.x / (0.55 + 0.4 * size)
            bent = blade.y - (tone - 0.5) * 0.45 * t * t
            width = 0.09 * (1 - t) * smooth(-1.0, -0.8, t)
            on = smooth(0.03, -0.03, bent.abs() - width) * (t.abs() < 1)
            lit = (0.3 + 0.1 * layer) * (1.12 + 0.75 * tone) * (1 + 0.55 * t)
            light = torch.lerp(light, lit * (1 + 2.4 * bent.clamp(-0.09, 0.09)), on)
            hue = torch.lerp(hue, tint, on)
            height = torch.lerp(height, 0.16 * layer + 0.25 * (1 + t) + 0.8 * width, on)
    tints = torch.stack([0.75 + 0.8 * hue, 1 + 0 * hue, 0.8 + 0.2 * hue], 1)
    return d.surface(d.color * tints * rgb(light * (1 + 0.1 * clump)), height, 0.8)


@family("moss,mossy ground,moss carpet", "ground", "green,dark green,olive,lime", bump=1.1)
def moss(d: Draw) -> Surface:
    """Soft cushions of fine leaves."""
    cushion = d.noise(2.8, 2, 20)
    cells = d.cells(d.choice(24.0, 28.0), None, 1.0)
    tuft, fine = (1 - cells.f1).clamp(0), d.noise(1.0, 12, 90)
    light = smooth(-1.6, 1.6, cushion + 0.4 * fine)
    albedo = d.shade_cells(d.color, cells.id, 0.4, 0.2) * rgb(
        (0.3 + 0.8 * light) * (0.5 + 0.7 * tuft)
    )
    return d.surface(albedo, 0.35 * cushion + 0.3 * tuft + 0.05 * fine, 0.95)


@family(
    "fallen leaves,leaf litter,autumn leaves,forest floor",
    "ground",
    "rust,orange,brown,ochre,red,olive",
)
def leaves(d: Draw) -> Surface:
    """Whole leaves over each other, each folded along its middle vein, with side veins and a stalk."""
    soil = d.noise(1.8, 3, 60)
    light, hue, height = 0.13 + 0.03 * soil, d.zeros() + 0.5, 0.05 * soil
    for layer, n in enumerate((5.0, 5.0, 4.0)):
        for leaf in d.scatter(n):
            size, tone, tint = leaf.random
            t = leaf.x / (0.56 + 0.18 * size)
            across = leaf.y - (tint - 0.5) * 0.3 * t * t
            side = across.abs()
            bulge = (1 - t * t).clamp(0)
            width = (0.24 + 0.1 * tone) * bulge**0.8 * (1 - 0.4 * t)
            blade = side - width * (1 + 0.07 * torch.cos(t * 16)) + (bulge <= 0)
            edge = torch.minimum(blade, torch.maximum(side - 0.02, (t - 1.05).abs() - 0.2))
            on, shadow = smooth(0.022, -0.022, edge), smooth(0.12, -0.02, edge)
            twig = smooth(0.55, 0.95, torch.cos((leaf.x - side * 0.7) * 42))
            vein = torch.maximum(smooth(0.04, 0.015, side), 0.55 * twig)
            lit = (0.5 + 0.75 * tone) * (1 + 0.16 * torch.sign(across)) * (1 + 0.5 * vein)
            light = torch.lerp(light * (1 - 0.5 * shadow), lit, on)
            hue = torch.lerp(hue, tint, on)
            lift = 0.2 * layer + 0.2 + 0.1 * tone + 0.9 * width * (0.4 + side) - 0.08 * vein
            height = torch.lerp(height, lift, on)
    tints = torch.stack([1.2 - 0.4 * hue, 0.55 + 0.9 * hue, 0.6 + 0.6 * hue], 1)
    return d.surface(d.color * tints * rgb(light * (1 + 0.07 * soil)), height, 0.7)


@family(
    "gravel,crushed stone,pebble gravel",
    "ground",
    "grey,beige,tan,charcoal,silver",
    counts=((18,), (11, 12), (7,)),
    bump=1.3,
)
def gravel(d: Draw) -> Surface:
    """Two sizes of angular stones piled up."""
    fine = d.noise(1.7, 4, 80)
    height, albedo = d.zeros() - 1, d.color * rgb(d.zeros() + 0.2)
    for scale in (1.0, 1.6):
        w = d.noise2(3, 1, 40)
        cells = d.cells((d.count * scale).round(), None, 0.95, w[0] * 0.004, w[1] * 0.004)
        lift = smooth(0.02, 0.34, cells.edge) * (0.45 + 0.55 * d.per_cell(cells.id))
        stone = d.shade_cells(d.color, cells.id, 0.9, 0.25) * rgb(0.3 + 0.75 * smooth(0, 0.4, lift))
        on = lift > height
        albedo = torch.where(on[:, None], stone, albedo)
        height = torch.where(on, lift, height)
    return d.surface(albedo * rgb(1 + 0.1 * fine), height * 0.8 + 0.025 * fine, 0.85)


@family(
    "pebbles,river stones,round pebbles",
    "ground",
    "grey,beige,charcoal,tan,brown",
    counts=((16,), (10,), (6,)),
    bump=1.3,
)
def pebbles(d: Draw) -> Surface:
    """Smooth round stones in three layers."""
    height, albedo = d.zeros(), d.color * rgb(d.zeros() + 0.12)
    for layer, scale in enumerate((1.5, 1.25, 1.0)):
        w = d.noise2(3, 1, 20)
        cells = d.cells((d.count * scale).round(), None, 0.8, w[0] * 0.01, w[1] * 0.01)
        size = 0.3 + 0.16 * d.per_cell(cells.id)
        dome = (1 - (cells.f1 / size) ** 2).clamp(0).sqrt()
        on = smooth(0.0, 0.12, dome) * (d.per_cell(cells.id) < 0.9)
        stone = d.shade_cells(d.color, cells.id, 0.9, 0.25) * rgb(
            (0.6 + 0.45 * dome) * (1 + 0.06 * d.noise(1.9, 4, 70))
        )
        albedo = mix(albedo, stone, rgb(on))
        height = mix(height, 0.2 * layer + 0.5 * dome, on)
    return d.surface(albedo, height, 0.45)


@family("sand,desert sand,beach sand", "ground", "sand,tan,beige,khaki,ochre", layouts="rippled")
def sand(d: Draw) -> Surface:
    """Flat grains, or wind ripples."""
    bend = d.noise(3.2, 1, 14)
    phase = (
        2
        * torch.pi
        * (d.choice(8, 9, 10) * d.unit * d.y + d.choice(-2, -1, 0, 1, 2) * d.unit * d.x)
    )
    ripple = 0.5 + 0.5 * torch.sin(phase + 1.5 * bend)
    ripple = ripple * d.flag("rippled")
    fine, dune = d.noise(0.5, 20, 90), d.noise(3, 1, 12)
    albedo = d.color * rgb((0.88 + 0.18 * ripple) * (1 + 0.07 * fine + 0.05 * dune))
    return d.surface(albedo, 0.32 * ripple + 0.016 * fine + 0.06 * dune, 0.95)


@family("snow,fresh snow", "ground", "white,sky blue,off-white")
def snow(d: Draw) -> Surface:
    """Soft drifts with a little sparkle."""
    drift, soft, fine = d.noise(3.4, 1, 10), d.noise(2.4, 4, 50), d.noise(0.5, 20, 90)
    tint = d.color.new_tensor([0.78, 0.87, 1.0]).view(1, 3, 1, 1)
    albedo = mix(d.color, d.color * tint, rgb(smooth(0.8, -1.2, drift))) * rgb(1 + 0.03 * fine)
    return d.surface(albedo * 0.95, 0.35 * drift + 0.07 * soft + 0.012 * fine, 0.7)


@family("dirt,soil,earth,mud ground", "ground", "brown,dark brown,chocolate,tan,chestnut")
def dirt(d: Draw) -> Surface:
    """Crumbly earth with small stones."""
    clod, fine, broad = d.noise(1.9, 3, 70), d.noise(1.2, 8, 90), d.noise(2.8, 1, 12)
    cells = d.cells(d.choice(22.0, 26.0), None, 1.0)
    stone = smooth(0.36, 0.22, cells.f1) * (d.per_cell(cells.id) < 0.16)
    albedo = d.color * rgb((1 + 0.18 * clod + 0.08 * fine + 0.1 * broad).clamp(0.2))
    albedo = mix(albedo, d.shade_cells(d.color * 0.6 + 0.12, cells.id, 0.6), rgb(stone))
    return d.surface(albedo, 0.14 * clod + 0.05 * fine + 0.3 * stone * (1 - cells.f1), 0.95)


@family(
    "cracked mud,dry cracked earth,dried mud",
    "ground",
    "tan,brown,beige,grey,sand",
    counts=((8, 9), (5, 6), (3, 4)),
    bump=1.3,
)
def cracked_mud(d: Draw) -> Surface:
    """Curled plates with wide gaps."""
    w = d.noise2(2.3, 2, 60)
    cells = d.cells(d.count, None, 0.95, w[0] * 0.012, w[1] * 0.012)
    plate, fine = smooth(0.02, 0.09, cells.edge), d.noise(1.8, 3, 80)
    curl = smooth(0.35, 0.05, cells.edge)
    albedo = d.shade_cells(d.color, cells.id, 0.25) * rgb((0.2 + 0.8 * plate) * (1 + 0.07 * fine))
    return d.surface(albedo, plate * (0.6 + 0.12 * curl) + 0.03 * fine, 0.9)


@family("asphalt,tarmac,road surface,blacktop", "ground", "charcoal,black,grey")
def asphalt(d: Draw) -> Surface:
    """Bitumen with small bright stones."""
    cells = d.cells(d.choice(44.0, 52.0), None, 1.0)
    stone = smooth(0.05, 0.25, cells.edge) * (0.3 + 0.7 * d.per_cell(cells.id))
    broad = d.noise(2.6, 1, 20)
    albedo = d.shade_cells(d.color, cells.id, 0.9, 0.06) * rgb(
        (0.5 + 0.75 * stone) * (1 + 0.07 * broad)
    )
    return d.surface(albedo, 0.3 * stone, 0.9)
