"""Timber, boards and floors."""

from __future__ import annotations

import torch

from core_server.training.materials.families.masonry import herringbone
from core_server.training.materials.family import Draw, Surface, family
from core_server.training.materials.fields import Tensor, mix, rgb, smooth

_WOOD = "brown,tan,chestnut,dark brown,chocolate,beige,grey"


def grain(d: Draw, dx: Tensor | float = 0.0, dy: Tensor | float = 0.0) -> tuple[Tensor, Tensor]:
    """Lying wood grain shifted by (dx, dy): broad growth rings in [0, 1] and fine fibres (std 1)."""
    broad = d.warp(d.noise(3.0, 1, 40, 8.0, 1.0), dx, dy)
    fibre = d.warp(d.noise(1.6, 4, 90, 14.0, 1.0), dx, dy)
    rings = 0.5 + 0.5 * torch.sin(broad * 5.5 + fibre * 0.5)
    return rings, fibre


def _timber(d: Draw, rings: Tensor, fibre: Tensor, mask: Tensor, piece: Tensor) -> Surface:
    """Pieces of wood with gaps where `mask` is 0; `piece` in [0, 1] varies their tone."""
    tone = (0.72 + 0.38 * rings) * (0.72 + 0.5 * piece) * (1 + 0.09 * fibre)
    albedo = d.color * rgb(tone * (0.2 + 0.8 * mask))
    return d.surface(albedo, mask * 0.45 + (0.04 * rings + 0.025 * fibre) * mask, 0.6)


@family(
    "wood planks,wooden planks,wood boards,plank floor",
    "wood",
    _WOOD,
    counts=((8, 10), (5,), (3,)),
    turned="vertical",
    diagonal=True,
)
def wood_planks(d: Draw) -> Surface:
    """Lying planks with butt joints."""
    rows = d.count * d.unit
    v = d.y * rows
    row = v.floor()
    offset, shift = d.per_cell(row.long()), d.per_cell(row.long())
    lattice = d.lattice(d.zeros() + 1, d.count, 0.0, offset)
    piece = d.per_cell(lattice.id)
    rings, fibre = grain(d, shift, offset * 0.77 + shift)
    joint = torch.minimum(lattice.u, 1 - lattice.u) * d.count
    mask = smooth(0.012, 0.05, torch.minimum(torch.minimum(lattice.v, 1 - lattice.v), joint))
    return _timber(d, rings, fibre, mask, piece)


@family("wood grain,wood,smooth wood,wooden surface", "wood", _WOOD, turned="vertical")
def wood_grain(d: Draw) -> Surface:
    """One sawn face with a few knots."""
    cells = d.cells(d.zeros() + 2, d.zeros() + 3, 1.0)
    keep = (d.per_cell(cells.id) < 0.3).float()
    knot = torch.exp(-((cells.dx * 0.55) ** 2 + (cells.dy * 1.9) ** 2) * 30) * keep
    broad = d.noise(3.2, 1, 30, 8.0, 1.0) + 2.2 * knot
    fibre = d.noise(1.6, 4, 90, 14.0, 1.0)
    rings = 0.5 + 0.5 * torch.sin(broad * 6.5 + 0.5 * fibre)
    albedo = d.color * rgb((0.68 + 0.45 * rings) * (1 + 0.1 * fibre) * (1 - 0.55 * knot))
    return d.surface(albedo, 0.03 * rings + 0.025 * fibre, 0.5)


@family(
    "parquet,parquet floor,wood block floor",
    "wood",
    _WOOD,
    counts=((6,), (4,), (2,)),
    diagonal=True,
)
def parquet(d: Draw) -> Surface:
    """Square fields of five strips, turned in a chequer."""
    lattice = d.lattice(d.count, d.count)
    lying = ((lattice.row + lattice.col) % 2) == 0
    across = torch.where(lying, lattice.v, lattice.u) * 5
    strip = across.floor()
    ids = lattice.id * 5 + strip.long()
    shift = d.per_cell(ids)
    ring_a, fibre_a = grain(d, shift, shift * 0.61)
    ring_b = d.warp(ring_a.transpose(1, 2).contiguous(), shift, 0.0)
    fibre_b = d.warp(fibre_a.transpose(1, 2).contiguous(), shift, 0.0)
    rings, fibre = torch.where(lying, ring_a, ring_b), torch.where(lying, fibre_a, fibre_b)
    inner = torch.minimum(across - strip, 1 - across + strip) / 5
    mask = smooth(0.004, 0.016, torch.minimum(inner, lattice.edge()) * 4 / d.count)
    return _timber(d, rings, fibre, mask, d.per_cell(ids))


@family(
    "herringbone wood floor,herringbone parquet,chevron wood floor",
    "wood",
    _WOOD,
    counts=((6,), (4,), (2,)),
    diagonal=True,
)
def herringbone_parquet(d: Draw) -> Surface:
    edge, ids, upright = herringbone(d, d.count * 2)
    shift = d.per_cell(ids)
    ring_a, fibre_a = grain(d, shift, shift * 0.61)
    ring_b = ring_a.transpose(1, 2).contiguous()
    fibre_b = fibre_a.transpose(1, 2).contiguous()
    rings = torch.where(upright > 0, d.warp(ring_b, shift, 0.0), ring_a)
    fibre = torch.where(upright > 0, d.warp(fibre_b, shift, 0.0), fibre_a)
    return _timber(d, rings, fibre, smooth(0.01, 0.05, edge * 4 / d.count), d.per_cell(ids))


@family("chipboard,osb board,particle board,oriented strand board", "wood", "tan,beige,ochre,brown")
def chipboard(d: Draw) -> Surface:
    """Long pressed flakes lying in all directions over each other."""
    fine = d.noise(1.2, 8, 80)
    light, hue, height = d.zeros() + 0.6, d.zeros() + 0.5, d.zeros()
    for layer, n in enumerate((8.0, 7.0, 6.0)):
        for flake in d.scatter(n):
            size, tone, tint = flake.random
            edge = torch.maximum(
                flake.x.abs() - 0.5 - 0.3 * size, flake.y.abs() - 0.14 - 0.16 * tint + 0.02 * fine
            )
            on, shadow = smooth(0.025, -0.025, edge), smooth(0.07, 0.0, edge)
            fibre = torch.cos(flake.y * 34 + 6 * tone + 1.5 * flake.x * (tint - 0.5))
            lit = (0.7 + 0.55 * tone) * (1 + 0.07 * fibre)
            light = torch.lerp(light * (1 - 0.4 * shadow), lit, on)
            hue = torch.lerp(hue, tint, on)
            height = torch.lerp(height, 0.08 * layer + 0.08 * tone + 0.015 * fibre, on)
    tints = torch.stack([1 + 0.1 * hue, 1 + 0 * hue, 1.08 - 0.3 * hue], 1)
    return d.surface(d.color * tints * rgb(light * (1 + 0.05 * fine)), height, 0.7)


@family("tree bark,bark", "wood", "brown,dark brown,grey,chestnut", turned="horizontal", bump=1.5)
def bark(d: Draw) -> Surface:
    """Long upright ridges that part and meet, broken by short cracks; furrows run along."""
    w = d.noise2(3.2, 1, 8)
    bend = w[0] * 0.012
    cells = d.cells(d.choice(9, 10), d.choice(2, 3), 0.9, bend, w[1] * 0.05)
    rough = d.warp(d.noise(1.8, 2, 70, 1, 7), bend, 0.0)
    plate = smooth(0.02, 0.3, cells.edge + 0.035 * rough)
    fissure = smooth(0.3, 0.04, d.warp(d.noise(2.0, 3, 30, 1, 5), bend, 0.0).abs()) * plate
    crack = smooth(2.1, 2.6, d.noise(1.8, 3, 50, 4, 1)) * plate
    relief = plate * (1 - 0.35 * fissure - 0.35 * crack)
    tone = (0.2 + 0.85 * relief) * (1 + 0.14 * rough) * (1 + 0.06 * d.noise(2.4, 1, 20))
    albedo = d.shade_cells(d.color, cells.id, 0.25, 0.16) * rgb(tone.clamp(0.1))
    return d.surface(albedo, relief * 0.9 + 0.08 * rough * plate, 0.9)


@family(
    "wicker,rattan,basket weave,woven wicker",
    "wood",
    "tan,brown,beige,dark brown,sand",
    counts=((16, 18), (10,), (6,)),
    turned="vertical",
    bump=1.2,
)
def wicker(d: Draw) -> Surface:
    """Canes going over and under upright stakes."""
    rows, columns = d.count * d.unit, d.count * d.unit
    v, u = d.y * rows, d.x * columns
    row = v.floor()
    fv = (v - row - 0.5) * 2
    wave = torch.cos(torch.pi * (u + row))
    cane = torch.sqrt((1 - fv**2).clamp(0)) * (0.6 + 0.4 * wave)
    fu = ((u - u.floor()) - 0.5) * 2
    stake = torch.sqrt((1 - (fu * 2.2) ** 2).clamp(0)) * 0.55
    over = cane >= stake
    height = torch.maximum(cane, stake)
    fibre = torch.where(over, d.noise(1.4, 4, 90, 12, 1), d.noise(1.4, 4, 90, 1, 12))
    ids = torch.where(over, row % rows, 64 + u.floor() % columns).long()
    albedo = d.shade_cells(d.color, ids, 0.25) * rgb((0.3 + 0.75 * height) * (1 + 0.1 * fibre))
    return d.surface(albedo, height * 0.6 + 0.02 * fibre, 0.5)


@family(
    "bamboo,bamboo wall,bamboo poles",
    "wood",
    "khaki,tan,olive,ochre,sand",
    counts=((14, 16), (9,), (6,)),
    turned="horizontal",
)
def bamboo(d: Draw) -> Surface:
    """Upright canes side by side with knots."""
    u = d.x * d.count * d.unit
    cane = u.floor()
    fu = (u - cane - 0.5) * 2
    y = (d.y + d.per_cell(cane.long())) % 1
    segment = y * 2 * d.unit
    joint = (segment - segment.round()).abs() / (2 * d.unit)
    round_ = torch.sqrt((1 - fu**2).clamp(0))
    knot = smooth(0.014, 0.005, joint)
    fibre = d.noise(1.5, 4, 90, 1, 14)
    albedo = d.shade_cells(d.color, cane.long(), 0.45, 0.2) * rgb(
        (0.35 + 0.65 * round_) * (1 - 0.4 * knot) * (1 + 0.05 * fibre)
    )
    return d.surface(albedo, round_ * 0.55 + 0.12 * smooth(0.03, 0.0, joint) * round_, 0.35)


@family("cork,cork board", "wood", "tan,brown,sand,beige")
def cork(d: Draw) -> Surface:
    """Pressed granules with dark specks."""
    w = d.noise2(2.2, 3, 60)
    cells = d.cells(d.choice(18, 22), None, 1.0, w[0] * 0.006, w[1] * 0.006)
    speck = smooth(1.2, 1.9, d.noise(1.6, 6, 60))
    mask = smooth(0.0, 0.15, cells.edge)
    albedo = d.shade_cells(d.color, cells.id, 0.45, 0.2) * rgb(
        (0.72 + 0.28 * mask) * (1 - 0.6 * speck)
    )
    return d.surface(albedo, 0.12 * mask - 0.1 * speck, 0.9)


@family(
    "thatch,thatched roof,straw", "wood", "tan,ochre,khaki,brown", turned="horizontal", bump=1.3
)
def thatch(d: Draw) -> Surface:
    """Layered upright straw."""
    albedo, height = d.color * rgb(d.zeros() + 0.3), d.zeros()
    for layer in range(4):
        straw = d.strokes(1.5708 + d.uniform(-0.16, 0.16), d.uniform(0.1, 0.2), 8, 90)
        level = 0.3 + 0.17 * layer
        on = smooth(0.3, 0.8, straw)
        tone = (0.55 + 0.18 * layer) * (0.75 + 0.3 * smooth(0.3, 2.2, straw))
        albedo = mix(albedo, d.color * rgb(tone), rgb(on))
        height = mix(height, level + 0.1 * straw, on)
    return d.surface(albedo, height, 0.85)
