"""Natural stone and cement surfaces."""

from __future__ import annotations

import torch

from core_server.training.materials.family import Draw, Surface, family
from core_server.training.materials.fields import mix, rgb, smooth


@family("concrete,concrete wall,cement", "stone", "grey,silver,beige,charcoal")
def concrete(d: Draw) -> Surface:
    """Cast concrete: clouds, pores."""
    cloud, broad, fine = d.noise(2.0, 2, 80), d.noise(3, 1, 12), d.noise(1.0, 16, 90)
    pore = smooth(2.0, 2.7, d.noise(1.4, 8, 50))
    albedo = d.color * rgb((1 + 0.06 * cloud + 0.06 * broad + 0.025 * fine) * (1 - 0.45 * pore))
    return d.surface(albedo, 0.03 * cloud - 0.16 * pore + 0.01 * fine, 0.9)


@family(
    "concrete panels,concrete slabs,cast concrete panels",
    "stone",
    "grey,silver,beige,charcoal",
    counts=((4,), (2,), (1,)),
)
def concrete_panels(d: Draw) -> Surface:
    """Formwork panels with tie holes."""
    lattice = d.lattice(d.count, d.count)
    cloud, broad = d.noise(2.0, 2, 80), d.noise(3, 1, 12)
    px, py = (lattice.u - 0.5).abs() - 0.32, (lattice.v - 0.5).abs() - 0.32
    hole = smooth(0.045, 0.035, torch.sqrt(px**2 + py**2))
    seam = smooth(0.006, 0.018, lattice.edge() * 2 / d.count)
    albedo = d.shade_cells(d.color, lattice.id, 0.2, 0.04) * rgb(
        (1 + 0.05 * cloud + 0.05 * broad) * (0.35 + 0.65 * seam) * (1 - 0.65 * hole)
    )
    return d.surface(albedo, 0.25 * seam - 0.3 * hole + 0.02 * cloud, 0.85)


@family(
    "plaster,stucco,plaster wall,rendered wall", "stone", "white,cream,beige,terracotta,grey,ochre"
)
def plaster(d: Draw) -> Surface:
    """Trowelled render with a coarse relief."""
    w = d.noise2(2.4, 2, 30)
    stroke = d.warp(d.noise(2.2, 3, 60), w[0] * 0.03, w[1] * 0.03)
    relief = stroke.abs()
    fine = d.noise(1.2, 10, 90)
    albedo = d.color * rgb(0.96 + 0.04 * relief + 0.02 * fine + 0.03 * d.noise(3, 1, 10))
    return d.surface(albedo, 0.13 * relief + 0.02 * fine, 0.92)


@family(
    "marble,polished marble,marble slab",
    "stone",
    "white,black,grey,green,cream,pink",
    accent="veins",
    accents="grey,white,gold,black",
)
def marble(d: Draw) -> Surface:
    """Long veins along warped zero lines, broad with a soft side, and fine ones between them.

    Veins as bright as the stone would not be seen: they are then drawn darker.
    """
    w = d.noise2(3.2, 1, 12)
    a = d.warp(d.noise(3.4, 1, 5), w[0] * 0.05, w[1] * 0.05)
    b = d.warp(d.noise(3.2, 2, 9), w[1] * 0.03, w[0] * 0.03)
    cloud = d.warp(d.noise(3.0, 1, 8), w[0] * 0.05, w[1] * 0.05)
    same = smooth(0.3, 0.15, (d.accent - d.color).abs().amax(1))
    accent = mix(d.accent, d.color * 0.3, rgb(same))
    swell = 0.7 + 0.6 * smooth(-1, 1, cloud)
    broad = torch.exp(-((a.abs() * d.uniform(7, 11) / swell) ** 1.3))
    fine = 0.7 * torch.exp(-b.abs() * 16) * smooth(-0.6, 0.6, -cloud)
    haze = 0.28 * torch.exp(-a.abs() * 2.2)
    albedo = d.color * rgb(0.86 + 0.06 * cloud.clamp(-2, 2))
    vein = torch.maximum(broad, fine)
    return d.surface(mix(albedo, accent, rgb((vein + haze).clamp(0, 0.95))), 0.002 * a, 0.12)


@family(
    "onyx,agate,banded stone",
    "stone",
    "amber,green,white,rust,turquoise,brown",
    accent="bands",
    accents="white,cream,brown,black",
)
def onyx(d: Draw) -> Surface:
    """Wavy bands of translucent stone."""
    w = d.noise2(2.6, 1, 40)
    field = d.warp(d.noise(3.4, 1, 6), w[0] * 0.012, w[1] * 0.012)
    band = 0.5 + 0.5 * torch.sin(field * d.uniform(9, 15))
    thin = smooth(0.8, 1.0, torch.sin(field * d.uniform(24, 36)))
    albedo = mix(d.color * rgb(0.85 + 0.25 * band), d.accent, rgb(0.35 * band + 0.4 * thin))
    return d.surface(albedo, 0.002 * field, 0.12)


@family(
    "granite,polished granite,granite countertop", "stone", "grey,black,pink,beige,silver,brown"
)
def granite(d: Draw) -> Surface:
    """Interlocking crystals, dark, pale and coloured."""
    w = d.noise2(1.8, 4, 80)
    cells = d.cells(d.choice(34.0, 42.0), None, 1.0, w[0] * 0.006, w[1] * 0.006)
    kind = d.per_cell(cells.id)
    pale = d.color * 0.5 + 0.28
    albedo = torch.where((kind < 0.3)[:, None], pale, d.color)
    albedo = torch.where((kind > 0.78)[:, None], d.color * 0.15 + 0.004, albedo)
    albedo = albedo * rgb(0.85 + 0.3 * d.per_cell(cells.id)) * rgb(1 + 0.06 * d.noise(1.4, 8, 90))
    return d.surface(albedo, d.zeros() + 0.002 * w[0], 0.15)


@family(
    "travertine,travertine stone,limestone",
    "stone",
    "beige,cream,tan,ivory,grey",
    turned="vertical",
)
def travertine(d: Draw) -> Surface:
    """Lying layers with elongated pores."""
    w = d.noise(2.4, 1, 30, 3, 1)
    layer = d.warp(d.noise(2.2, 1, 50, 12, 1), 0.0, w * 0.015)
    pore = smooth(1.5, 2.1, d.noise(1.6, 4, 60, 5, 1) + 0.6 * layer)
    albedo = d.color * rgb((0.97 + 0.12 * layer) * (1 - 0.5 * pore))
    return d.surface(albedo, -0.18 * pore + 0.015 * layer, 0.5)


@family("rock face,rock,cliff rock,rough stone", "stone", "grey,brown,charcoal,tan,beige", bump=1.5)
def rock(d: Draw) -> Surface:
    """Broken faces: ridged noise over tilted facets."""
    w = d.noise2(2.3, 1, 50)
    cells = d.cells(d.choice(4.0, 5.0), None, 1.0, w[0] * 0.03, w[1] * 0.03)
    ridge = -d.warp(d.noise(2.4, 1, 50), w[0] * 0.02, w[1] * 0.02).abs()
    tilt = (d.per_cell(cells.id) - 0.5) * cells.dx + (d.per_cell(cells.id) - 0.5) * cells.dy
    fine = d.noise(1.7, 5, 90)
    height = 0.3 * ridge + 0.8 * tilt + 0.12 * smooth(0, 0.12, cells.edge) + 0.05 * fine
    albedo = d.shade_cells(d.color, cells.id, 0.2) * rgb(
        (1.05 + 0.28 * ridge).clamp(0.3) * (1 + 0.09 * fine)
    )
    return d.surface(albedo, height, 0.9)


@family(
    "sandstone,layered sandstone,rock strata",
    "stone",
    "sand,terracotta,tan,ochre,rust",
    turned="vertical",
    bump=1.1,
)
def sandstone(d: Draw) -> Surface:
    """Lying sediment layers, some eroded."""
    w = d.noise(2.8, 1, 20, 2, 1)
    layer = d.warp(d.noise(1.6, 2, 40, 30, 1), 0.0, w * 0.025)
    fine = d.noise(1.0, 12, 90)
    tint = torch.stack([1 + 0.1 * layer, 1 + 0.02 * layer, 1 - 0.08 * layer], 1)
    albedo = d.color * tint * rgb((0.95 + 0.14 * layer).clamp(0.3) * (1 + 0.05 * fine))
    return d.surface(albedo, 0.14 * layer + 0.02 * fine, 0.92)


@family(
    "crystal,crystals,gemstone facets,quartz",
    "stone",
    "violet,cyan,turquoise,pink,white,green",
    counts=((12,), (7,), (4, 5)),
    bump=1.8,
)
def crystal(d: Draw) -> Surface:
    """Tilted glassy facets."""
    cells = d.cells(d.count, None, 1.0)
    gx, gy = d.per_cell(cells.id) - 0.5, d.per_cell(cells.id) - 0.5
    tilt = gx * cells.dx + gy * cells.dy
    facet = 0.55 + 0.9 * (gx + gy).abs() + 0.6 * tilt
    glint = smooth(0.05, 0.0, cells.edge)
    albedo = mix(d.color * rgb(facet), d.color * 0.4 + 0.5, rgb(0.6 * glint))
    return d.surface(albedo, 0.9 * tilt + 0.1 * glint, 0.1)
