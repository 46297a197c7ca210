"""Painted and manufactured surfaces."""

from __future__ import annotations

import torch

from core_server.training.materials.families.metal import rust_layer
from core_server.training.materials.family import Draw, Surface, family
from core_server.training.materials.fields import mix, rgb, smooth


@family(
    "painted wall,wall paint,painted surface",
    "painted",
    "white,cream,sky blue,green,yellow,red,teal",
)
def painted_wall(d: Draw) -> Surface:
    """Roller paint with orange-peel relief."""
    peel, cloud = d.noise(1.6, 12, 60), d.noise(3, 1, 12)
    return d.surface(d.color * rgb(1 + 0.02 * peel + 0.03 * cloud), 0.04 * peel, 0.6)


@family(
    "peeling paint,chipped paint,flaking paint",
    "painted",
    "white,teal,sky blue,green,yellow,red",
    accent="ground",
    accents="grey,brown,beige,rust",
)
def peeling_paint(d: Draw) -> Surface:
    """Paint flaking off the wall below it."""
    w = d.noise2(2.2, 2, 60)
    n = d.warp(d.noise(2.6, 1, 60), w[0] * 0.015, w[1] * 0.015)
    level = d.uniform(0.1, 0.7)
    bare = smooth(level - 0.03, level + 0.05, n)
    rim = smooth(level - 0.22, level - 0.02, n) * (1 - bare)
    fine = d.noise(1.8, 3, 80)
    albedo = mix(
        d.color * rgb(1 + 0.03 * fine + 0.12 * rim), d.accent * rgb(0.85 + 0.1 * fine), rgb(bare)
    )
    return d.surface(albedo, 0.25 * (1 - bare) + 0.08 * rim + 0.03 * fine * bare, 0.5 + 0.4 * bare)


@family(
    "painted metal,chipped painted metal,worn painted metal",
    "metal",
    "red,yellow,green,blue,white,teal,orange",
)
def painted_metal(d: Draw) -> Surface:
    """Lacquered steel, chipped down to rust in places."""
    w = d.noise2(2.2, 2, 60)
    n = d.warp(d.noise(2.3, 1, 80), w[0] * 0.01, w[1] * 0.01)
    level = d.uniform(1.0, 1.6)
    chip = smooth(level, level + 0.08, n)
    oxide, fine = rust_layer(d)
    stain = smooth(level - 0.7, level, n) * (1 - chip)
    paint = d.color * rgb(1 + 0.03 * d.noise(2, 1, 60))
    albedo = mix(mix(paint, paint * oxide * 2.2, rgb(0.35 * stain)), oxide, rgb(chip))
    return d.surface(albedo, 0.2 * (1 - chip) + 0.03 * fine * chip, 0.3 + 0.6 * chip, 0.1)


@family(
    "wood siding,painted wood,clapboard siding",
    "painted",
    "white,sky blue,red,grey,green,cream",
    counts=((10, 12), (7,), (4,)),
    turned="vertical",
    bump=1.2,
)
def wood_siding(d: Draw) -> Surface:
    """Lying painted boards, each overlapping the next."""
    v = d.y * d.count * d.unit
    row = v.floor()
    f = v - row
    grain = d.warp(d.noise(1.6, 3, 90, 14, 1), d.per_cell(row.long()), 0.0)
    shadow = smooth(0.0, 0.12, f)
    albedo = d.shade_cells(d.color, row.long(), 0.1, 0.03) * rgb(
        (0.35 + 0.65 * shadow) * (1 + 0.04 * grain)
    )
    return d.surface(albedo, 0.55 * f * 1.0 + 0.015 * grain, 0.6)


@family("cardboard,corrugated cardboard", "paper", "tan,brown,beige,sand", turned="horizontal")
def cardboard(d: Draw) -> Surface:
    """Brown board, the flutes showing faintly, with fibres."""
    flute = 0.5 + 0.5 * torch.cos(2 * torch.pi * d.x * d.choice(22, 26, 30) * d.unit)
    fibre = d.strokes(d.uniform(0, 3.14), d.uniform(0.02, 0.05), 10, 90)
    albedo = d.color * rgb(0.95 + 0.05 * flute + 0.045 * fibre + 0.03 * d.noise(2.6, 1, 20))
    return d.surface(albedo, 0.05 * flute + 0.012 * fibre, 0.9)


@family("paper,crumpled paper,parchment", "paper", "white,ivory,cream,tan,beige", bump=1.5)
def paper(d: Draw) -> Surface:
    """Crumpled sheet: creased facets."""
    height = d.zeros()
    for scale in (2.0, 4.0, 7.0):
        w = d.noise2(2.6, 1, 20)
        cells = d.cells(d.zeros() + scale, None, 1.0, w[0] * 0.02, w[1] * 0.02)
        gx, gy = d.per_cell(cells.id) - 0.5, d.per_cell(cells.id) - 0.5
        height = height + (gx * cells.dx + gy * cells.dy + 0.25 * smooth(0, 0.3, cells.edge)) * (
            1.1 / scale**0.5
        )
    height = d.blur(height, 1.0)
    fibre = d.noise(1.2, 10, 90)
    return d.surface(
        d.color * rgb(0.94 + 0.02 * fibre) + 0 * rgb(height), 0.42 * height + 0.008 * fibre, 0.9
    )


@family(
    "rubber,rubber mat,studded rubber",
    "plastic",
    "black,charcoal,grey,red,blue,green",
    counts=((16,), (10,), (6,)),
)
def rubber_mat(d: Draw) -> Surface:
    """Round flat studs in a square grid."""
    lattice = d.lattice(d.count, d.count)
    r = torch.sqrt((lattice.u - 0.5) ** 2 + (lattice.v - 0.5) ** 2)
    stud, fine = smooth(0.36, 0.28, r), d.noise(1.4, 8, 90)
    return d.surface(
        d.color * rgb((0.8 + 0.25 * stud) * (1 + 0.04 * fine)), 0.3 * stud + 0.01 * fine, 0.6
    )


@family(
    "plastic,textured plastic,moulded plastic", "plastic", "white,red,blue,black,yellow,grey,lime"
)
def plastic(d: Draw) -> Surface:
    """Fine moulded grain."""
    grain_, cloud = d.noise(1.0, 18, 70), d.noise(3, 1, 8)
    return d.surface(
        d.color * rgb(1 + 0.015 * grain_ + 0.02 * cloud), 0.05 * grain_ + 0.03 * cloud, 0.35
    )


@family(
    "circuit board,pcb,electronic circuit",
    "plastic",
    "green,dark green,blue,black",
    counts=((12,), (8,), (6,)),
    accent="traces",
    accents="gold,silver,lime",
)
def circuit_board(d: Draw) -> Surface:
    """Right-angled copper traces, pads and a few chips."""
    lattice = d.lattice(d.count * 2, d.count * 2)
    kind = d.per_cell(lattice.id)
    pu, pv = (lattice.u - 0.5).abs(), (lattice.v - 0.5).abs()
    straight = torch.where(kind < 0.5, smooth(0.12, 0.07, pv), smooth(0.12, 0.07, pu))
    cross = torch.maximum(smooth(0.12, 0.07, pv), smooth(0.12, 0.07, pu))
    r = torch.sqrt(pu**2 + pv**2)
    pad = smooth(0.34, 0.29, r) - smooth(0.14, 0.09, r)
    trace = torch.where(
        kind > 0.85, cross, torch.where(kind > 0.7, torch.maximum(pad, d.zeros()), straight)
    )
    big = d.lattice(d.count / 2, d.count / 2)
    chip = (d.per_cell(big.id) < 0.22) * smooth(0.12, 0.15, big.edge())
    albedo = mix(d.color * rgb(0.85 + 0.05 * d.noise(2, 2, 60)), d.accent, rgb(0.85 * trace))
    albedo = mix(albedo, d.color * 0 + 0.02, rgb(chip))
    return d.surface(
        albedo, 0.1 * trace * (1 - chip) + 0.3 * chip, mix(d.zeros() + 0.35, 0.5, chip)
    )


@family(
    "glass blocks,glass bricks,frosted glass",
    "glass",
    "cyan,sky blue,mint,white,turquoise",
    counts=((8,), (4,), (2,)),
    accent="joints",
    accents="white,grey,charcoal",
)
def glass_blocks(d: Draw) -> Surface:
    """Square blocks of wavy glass in white joints."""
    lattice = d.lattice(d.count, d.count)
    w = d.noise(3, 2, 20)
    edge = lattice.edge()
    mask, pillow = smooth(0.03, 0.07, edge), smooth(0.05, 0.4, edge)
    wave = 0.5 + 0.5 * torch.sin(3 * w + 8 * pillow)
    glass = mix(d.color * rgb(0.65 + 0.3 * pillow), d.color * 0.3 + 0.6, rgb(0.45 * wave))
    return d.surface(
        mix(d.accent + 0 * glass, glass, rgb(mask)),
        mask * (0.2 + 0.35 * pillow) + 0.03 * w,
        mix(d.zeros() + 0.9, 0.05, mask),
    )
