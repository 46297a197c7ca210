"""Metals: sheet, plate, mesh and corrosion."""

from __future__ import annotations

import torch

from core_server.training.materials.family import Draw, Surface, family
from core_server.training.materials.fields import Tensor, mix, rgb, smooth

_STEEL = "silver,grey,charcoal,gold,rust"


def rust_layer(d: Draw) -> tuple[Tensor, Tensor]:
    """Iron oxide: albedo (B, 3, S, S) and a fine relief (std 1)."""
    deep = d.color.new_tensor([0.15, 0.04, 0.013]).view(1, 3, 1, 1)
    fresh = d.color.new_tensor([0.42, 0.14, 0.035]).view(1, 3, 1, 1)
    blotch, fine = d.noise(1.9, 3, 80), d.noise(1.4, 6, 90)
    return mix(deep, fresh, rgb(smooth(-1.2, 1.4, blotch + 0.4 * fine))), fine


@family(
    "rusty metal,rusted metal,corroded iron,rusty iron", "metal", "grey,charcoal,silver,teal,brown"
)
def rusty_metal(d: Draw) -> Surface:
    """Sheet metal in the colour asked for, eaten by rust."""
    w = d.noise2(2.6, 1, 40)
    n = d.warp(d.noise(2.5, 1, 80), w[0] * 0.02, w[1] * 0.02)
    level = d.uniform(-0.5, 0.5)
    mask = smooth(level - 0.12, level + 0.22, n)
    oxide, fine = rust_layer(d)
    brushed = d.noise(1.6, 2, 90, 0.2, 5)
    albedo = mix(d.color * rgb(1 + 0.05 * brushed), oxide, rgb(mask))
    halo = smooth(level - 0.5, level, n) * (1 - mask)
    albedo = albedo * rgb(1 - 0.3 * halo)
    return d.surface(albedo, 0.2 + mask * (0.08 + 0.05 * fine), 0.4 + 0.5 * mask, 0.5 * (1 - mask))


@family(
    "brushed metal,brushed steel,stainless steel,brushed aluminium",
    "metal",
    _STEEL,
    turned="vertical",
)
def brushed_metal(d: Draw) -> Surface:
    """Fine lying scratches of the brush."""
    brush, broad = d.noise(1.0, 3, 90, 24, 1), d.noise(2.6, 1, 40, 6, 1)
    albedo = d.color * rgb(1 + 0.12 * brush + 0.08 * broad)
    return d.surface(albedo, 0.02 * brush, (0.32 + 0.04 * brush), 0.8)


@family(
    "diamond plate,tread plate,checker plate",
    "metal",
    "silver,grey,charcoal,gold",
    counts=((12, 14), (8,), (4, 6)),
    bump=1.2,
)
def diamond_plate(d: Draw) -> Surface:
    """Raised lozenges in two directions."""
    lattice = d.lattice(d.count, d.count)
    turned = ((lattice.row + lattice.col) % 2) == 0
    px, py = lattice.u - 0.5, lattice.v - 0.5
    p, q = (px + py) / 2**0.5, (px - py) / 2**0.5
    along, across = torch.where(turned, p, q), torch.where(turned, q, p)
    bump = 1 - smooth(0.55, 1.05, torch.sqrt((along / 0.52) ** 2 + (across / 0.16) ** 2))
    worn = d.noise(2.0, 2, 80)
    albedo = d.color * rgb((0.82 + 0.3 * bump) * (1 + 0.05 * worn))
    return d.surface(albedo, 0.32 * bump + 0.006 * worn, 0.36 + 0.04 * worn, 0.6)


@family(
    "corrugated metal,corrugated iron,corrugated steel",
    "metal",
    "silver,grey,rust,teal,green",
    counts=((16, 18), (10,), (5, 6)),
    turned="horizontal",
)
def corrugated_metal(d: Draw) -> Surface:
    """Upright waves."""
    wave = 0.5 - 0.5 * torch.cos(2 * torch.pi * d.x * d.count * d.unit)
    stain, fine = d.noise(2.4, 1, 60, 1, 3), d.noise(1.6, 3, 90)
    albedo = d.color * rgb((0.55 + 0.5 * wave) * (1 + 0.06 * stain + 0.03 * fine))
    return d.surface(albedo, wave * 3.2 / d.count + 0.005 * fine, 0.42, 0.4)


@family(
    "perforated metal,metal grate,punched metal sheet",
    "metal",
    "silver,grey,charcoal,gold",
    counts=((16, 18), (10,), (6,)),
    accent="holes",
    accents="black",
)
def perforated_metal(d: Draw) -> Surface:
    """Round holes in offset rows."""
    rows = (d.count * 2 / 3**0.5 / 2).round() * 2
    cells = d.cells(d.count, rows, 0.0, hexagonal=True)
    hole = smooth(0.34, 0.29, cells.f1)
    brushed = d.noise(1.4, 3, 90, 8, 1)
    albedo = mix(d.color * rgb(1 + 0.05 * brushed), d.color * 0 + 0.008, rgb(hole))
    return d.surface(albedo, 0.4 - 0.4 * hole, 0.35, 0.6 * (1 - hole))


@family(
    "hammered metal,hammered copper,beaten metal",
    "metal",
    "gold,rust,silver,amber,chestnut",
    counts=((16, 18), (10, 11), (7,)),
    bump=1.2,
)
def hammered_metal(d: Draw) -> Surface:
    """Round dents of a hammer."""
    cells = d.cells(d.count, None, 0.8)
    dent = cells.f1.clamp(max=0.9) ** 2
    patina = d.noise(2.4, 1, 40)
    albedo = d.color * rgb((0.75 + 0.45 * dent) * (1 + 0.06 * patina))
    return d.surface(albedo, dent * 0.5, 0.28, 0.75)


@family(
    "riveted metal,riveted panels,metal plates,steel plates",
    "metal",
    "grey,silver,charcoal,rust,navy",
    counts=((6,), (4,), (2,)),
)
def riveted_panels(d: Draw) -> Surface:
    """Square plates with a row of rivets along each side."""
    lattice = d.lattice(d.count, d.count)
    edge = lattice.edge()
    seam = smooth(0.008, 0.025, edge)
    px, py = lattice.u * 6, lattice.v * 6
    near = torch.sqrt((px - px.floor() - 0.5) ** 2 + (py - py.floor() - 0.5) ** 2)
    rivet = smooth(0.26, 0.16, near) * (edge < 1 / 6).float()
    worn, brushed = d.noise(2.4, 1, 60), d.noise(1.4, 3, 90, 4, 1)
    albedo = d.shade_cells(d.color, lattice.id, 0.25, 0.05) * rgb(
        (0.3 + 0.7 * seam) * (1 + 0.07 * worn + 0.03 * brushed) * (1 + 0.2 * rivet)
    )
    return d.surface(albedo, 0.3 * seam + 0.16 * rivet, 0.42, 0.5)


@family(
    "sci-fi panels,spaceship panels,sci-fi metal hull,greebles",
    "metal",
    "grey,silver,charcoal,white,navy,teal",
    counts=((6,), (4,), (3,)),
    accent="lights",
    accents="cyan,orange,red,lime",
)
def scifi_panels(d: Draw) -> Surface:
    """Panels split into smaller ones, with vents and small lights."""
    lattice = d.lattice(d.count, d.count)
    kind, flip = d.per_cell(lattice.id), d.per_cell(lattice.id)
    parts = 1 + (flip * 3).floor()
    u = lattice.u * parts
    sub = u.floor()
    edge = torch.minimum(
        torch.minimum(u - sub, 1 - u + sub) / parts, torch.minimum(lattice.v, 1 - lattice.v)
    )
    ids = lattice.id * 3 + sub.long()
    seam = smooth(0.012, 0.035, edge)
    lift = d.per_cell(ids)
    slats = 0.5 + 0.5 * torch.sin(lattice.v * 12 * torch.pi)
    vent = (kind < 0.2).float() * smooth(0.1, 0.14, edge)
    lamp = (d.per_cell(ids) < 0.18).float() * smooth(0.06, 0.04, (lattice.v - 0.82).abs())
    lamp = lamp * smooth(0.32, 0.28, (u - sub - 0.5).abs())
    albedo = d.shade_cells(d.color, ids, 0.4, 0.05) * rgb(
        (0.2 + 0.8 * seam) * (1 - 0.5 * vent * (1 - slats))
    )
    albedo = mix(albedo, d.accent * 1.3, rgb(lamp))
    height = seam * (0.2 + 0.25 * lift) - 0.15 * vent * (1 - slats)
    return d.surface(albedo, height, 0.4, 0.4)


@family(
    "chainmail,chain mail,ring mail",
    "metal",
    "silver,grey,charcoal,gold",
    counts=((16,), (10,), (7,)),
    bump=1.2,
)
def chainmail(d: Draw) -> Surface:
    """Rings linked in offset rows."""
    height, albedo = d.zeros(), d.color * rgb(d.zeros() + 0.06)
    n = d.count * d.unit
    for k, (ox, oy) in enumerate(((0.0, 0.0), (0.5, 0.5))):
        u, v = (d.x * n + ox) % 1 - 0.5, (d.y * n + oy) % 1 - 0.5
        r = torch.sqrt(u**2 + (v * 1.05) ** 2)
        tube = torch.sqrt((1 - ((r - 0.4) / 0.12) ** 2).clamp(0))
        level = tube * (0.6 + (0.35 if k else -0.35) * torch.sign(u) * 0.6)
        on = (level > height).float()
        albedo = mix(albedo, d.color * rgb(0.45 + 0.6 * tube), rgb(on))
        height = torch.maximum(height, level)
    return d.surface(albedo, height * 0.6, 0.3, 0.7)


@family(
    "wire mesh,chain link fence,metal net",
    "metal",
    "silver,grey,gold,green",
    counts=((14,), (8,), (5,)),
    turned="square",
    accent="background",
    accents="black,charcoal",
)
def wire_mesh(d: Draw) -> Surface:
    """Wires crossing at 45 degrees over a dark ground."""
    n = d.count * d.unit
    p, q = (d.x + d.y) * n, (d.x - d.y) * n
    height, tone = d.zeros(), d.zeros()
    for a, b, sign in ((p, q, 1.0), (q, p, -1.0)):
        off = (a - a.round()).abs() / 0.13
        tube = torch.sqrt((1 - off**2).clamp(0))
        level = tube * (0.65 + 0.3 * sign * torch.cos(torch.pi * (b.floor() + a.round())))
        tone = torch.where(level > height, 0.4 + 0.65 * tube, tone)
        height = torch.maximum(height, level)
    wire = smooth(0.0, 0.05, height)
    albedo = mix(d.accent * rgb(1 + 0.05 * d.noise(2, 2, 60)), d.color * rgb(tone), rgb(wire))
    return d.surface(albedo, height * 0.5, 0.35, 0.6 * wire)


@family(
    "scratched metal,worn metal sheet,galvanized metal,sheet metal",
    "metal",
    "silver,grey,charcoal,gold,teal",
)
def sheet_metal(d: Draw) -> Surface:
    """Sheet with crystal spangle and a few scratches."""
    cells = d.cells(d.choice(9, 12), None, 1.0)
    scratch = torch.maximum(
        smooth(2.2, 3.0, d.strokes(d.uniform(0, 3.14), d.uniform(0.15, 0.3), 6, 90)),
        smooth(2.2, 3.0, d.strokes(d.uniform(0, 3.14), d.uniform(0.1, 0.2), 6, 90)),
    )
    albedo = d.shade_cells(d.color, cells.id, 0.16, 0.03) * rgb(1 + 0.05 * d.noise(2, 1, 60))
    albedo = mix(albedo, albedo * 0.5 + 0.35, rgb(0.8 * scratch))
    return d.surface(albedo, -0.03 * scratch, 0.38, 0.7)
