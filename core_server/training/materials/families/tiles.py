"""Glazed, laid and roof tiles."""

from __future__ import annotations

import torch

from core_server.training.materials.families.masonry import herringbone
from core_server.training.materials.family import Draw, Surface, family
from core_server.training.materials.fields import Tensor, mix, rgb, smooth

_GROUT = "grey,white,black,beige"
_GLAZE = "white,teal,blue,cream,green,grey,navy,terracotta,sky blue"


def _glazed(d: Draw, edge: Tensor, ids: Tensor, joint: float, spread: float = 0.22) -> Surface:
    """Smooth tiles with a rounded rim; `edge` in units of a quarter of the tile (256 px / 4)."""
    cloud, grain = d.noise(2.8, 1, 24), d.noise(1.4, 8, 80)
    mask = smooth(joint * 0.6, joint * 1.4, edge)
    glaze = d.shade_cells(d.color, ids, spread, 0.06) * rgb(1 + 0.04 * cloud)
    albedo = mix(d.accent * rgb(1 + 0.05 * grain), glaze, rgb(mask))
    height = smooth(0, joint * 4, edge) * 0.4 + 0.006 * cloud
    return d.surface(albedo, height, mix(d.zeros() + 0.9, 0.14, mask))


@family(
    "tiles,square tiles,ceramic tiles",
    "tile",
    _GLAZE,
    counts=((8, 10), (4,), (2,)),
    diagonal=True,
    accent="grout",
    accents=_GROUT,
)
def square_tiles(d: Draw) -> Surface:
    lattice = d.lattice(d.count, d.count)
    return _glazed(d, lattice.edge() * 4 / d.count, lattice.id, 0.035)


@family(
    "hexagon tiles,hexagonal tiles,hex tiles,honeycomb tiles",
    "tile",
    _GLAZE,
    counts=((10, 12), (6,), (3, 4)),
    turned="turned",
    accent="grout",
    accents=_GROUT,
)
def hexagon_tiles(d: Draw) -> Surface:
    """Regular hexagons, point up."""
    rows = (d.count * 2 / 3**0.5 / 2).round() * 2
    cells = d.cells(d.count, rows, 0.0, hexagonal=True)
    return _glazed(d, cells.edge * 4 / d.count, cells.id, 0.04)


@family(
    "subway tiles,metro tiles,brick tiles",
    "tile",
    _GLAZE,
    counts=((5, 6), (3,), (2,)),
    turned="vertical",
    accent="grout",
    accents=_GROUT,
)
def subway_tiles(d: Draw) -> Surface:
    lattice = d.lattice(d.count, d.count * 2, 0.5)
    return _glazed(d, lattice.edge(2.0) * 2 / d.count, lattice.id, 0.03, 0.12)


@family(
    "mosaic,mosaic tiles,glass mosaic",
    "tile",
    "teal,blue,turquoise,green,sky blue,gold,purple",
    counts=((20, 24), (14, 16), (10,)),
    accent="grout",
    accents=_GROUT,
)
def mosaic(d: Draw) -> Surface:
    """Little stones, strongly varied around the colour."""
    w = d.noise2(2.6, 2, 30)
    lattice = d.lattice(d.count, d.count, 0.0, w[0] * 0.04 / d.count, w[1] * 0.04 / d.count)
    mask = smooth(0.06, 0.16, lattice.edge())
    tone = d.per_cell(lattice.id)
    piece = mix(d.color * 0.55, mix(d.color, d.color * 0 + 0.8, 0.35), rgb(tone))
    albedo = mix(
        d.accent * rgb(1 + 0 * mask), d.shade_cells(piece, lattice.id, 0.3, 0.3), rgb(mask)
    )
    height = mask * (0.25 + 0.1 * d.per_cell(lattice.id))
    return d.surface(albedo, height, mix(d.zeros() + 0.9, 0.2, mask))


@family(
    "checkerboard,checkered floor,checkered tiles",
    "tile",
    "black,red,navy,green,grey,brown",
    counts=((12, 16), (8,), (4,)),
    diagonal=True,
    accent="squares",
    accents="white,cream,grey,black",
)
def checkerboard(d: Draw) -> Surface:
    """Squares in two colours."""
    lattice = d.lattice(d.count, d.count)
    odd = (lattice.row + lattice.col) % 2
    cloud = d.noise(2.4, 1, 40)
    mask = smooth(0.008, 0.03, lattice.edge() / d.count * 6)
    albedo = mix(d.color, d.accent, rgb(odd)) * rgb((1 + 0.05 * cloud) * (0.55 + 0.45 * mask))
    return d.surface(albedo, mask * 0.15, 0.2)


@family(
    "terrazzo,terrazzo floor",
    "tile",
    "white,cream,grey,beige,sage,pink,charcoal",
    counts=((18, 20), (11, 12), (7, 8)),
    accent="chips",
    accents="terracotta,white,black,grey,teal,gold",
)
def terrazzo(d: Draw) -> Surface:
    """Sharp stone chips of two sizes ground flat in a coloured cement."""
    grain = d.noise(1.6, 6, 80)
    albedo, mask = d.color * rgb(1 + 0.035 * grain + 0.03 * d.noise(2.6, 1, 12)), d.zeros()
    for scale, share in ((1.9, 0.3), (1.0, 0.5)):
        bend = d.noise2(3.0, 1, 16)
        cells = d.cells(
            (d.count * scale).round(), None, 1.0, bend[0] * 0.003 / scale, bend[1] * 0.003 / scale
        )
        chip = smooth(0.1 - 0.02 * scale, 0.15 - 0.01 * scale, cells.edge) * (
            d.per_cell(cells.id) < share
        )
        shade = d.shade_cells(d.accent, cells.id, 0.8, 0.4)
        # Some chips are of the cement's own stone, darker or paler.
        other = mix(d.color * 0.55, d.color * 0.4 + 0.45, d.per_cell(cells.id).round()[:, None])
        shade = torch.where((d.per_cell(cells.id) < 0.25)[:, None], other, shade)
        albedo = mix(albedo, shade * rgb(1 + 0.05 * grain), rgb(chip))
        mask = torch.maximum(mask, chip)
    return d.surface(albedo, d.zeros() + 0.3 + 0.01 * mask, 0.15)


def _overlap(d: Draw, rows: Tensor, radius: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Courses of round-ended pieces, each lying over the course below it.

    Returns ids, distance to the piece's round end (0 at the rim, growing inward, in piece widths),
    progress along the piece in [0, 1], and the distance from the rim of the piece lying above.
    """
    columns, rows = d.count * d.unit, rows * d.unit
    u, v = d.x * columns, d.y * rows
    row, step = v.floor(), columns / rows
    upper_u = u + 0.5 * (row % 2)
    lower_u = u + 0.5 * ((row + 1) % 2)
    upper_x = upper_u - upper_u.floor() - 0.5
    fall = (v - row) * step
    drop = fall - (radius**2 - (upper_x * 2 * radius) ** 2).clamp(0).sqrt() * step / radius
    upper = drop < 0
    ids = torch.where(
        upper,
        (row % rows) * 64 + upper_u.floor() % columns,
        ((row + 1) % rows) * 64 + lower_u.floor() % columns,
    ).long()
    lower_x = lower_u - lower_u.floor() - 0.5
    side = 0.5 - torch.where(upper, upper_x, lower_x).abs()
    rim = torch.where(upper, torch.minimum(-drop, side + 0 * drop), side)
    progress = torch.where(upper, v - row + 1, v - row) * 0.5
    return ids, rim, progress, torch.where(upper, d.zeros() + 1, drop)


@family(
    "roof tiles,clay roof tiles,shingles,roof shingles",
    "tile",
    "terracotta,red,charcoal,brown,grey,rust,dark brown",
    counts=((10,), (6,), (4,)),
    bump=1.2,
)
def roof_tiles(d: Draw) -> Surface:
    """Beaver-tail tiles in offset courses."""
    ids, rim, progress, shade = _overlap(d, d.count, 0.28)
    fine = d.noise(1.7, 4, 80)
    mask, shadow = smooth(0.0, 0.05, rim), smooth(-0.02, 0.16, shade)
    albedo = d.shade_cells(d.color, ids, 0.45, 0.15) * rgb(
        (0.35 + 0.65 * mask) * (0.3 + 0.7 * shadow) * (1 + 0.09 * fine)
    )
    return d.surface(albedo, mask * (0.15 + 0.7 * progress) + 0.025 * fine, 0.75)


@family(
    "scales,dragon scales,fish scales,fish scale tiles",
    "tile",
    "teal,green,turquoise,navy,gold,red",
    counts=((12, 14), (8,), (6,)),
    bump=1.2,
)
def scales(d: Draw) -> Surface:
    """Round scales in offset rows."""
    ids, rim, progress, shade = _overlap(d, d.count * 2, 0.5)
    mask, shadow = smooth(0.0, 0.08, rim), smooth(-0.02, 0.2, shade)
    albedo = d.shade_cells(d.color, ids, 0.3, 0.2) * rgb(
        (0.4 + 0.6 * mask) * (0.35 + 0.65 * shadow) * (0.75 + 0.4 * progress)
    )
    return d.surface(albedo, mask * (0.1 + 0.55 * progress) + 0.01 * d.noise(1.8, 4, 60), 0.3)


@family(
    "ornate tiles,patterned tiles,moroccan tiles,azulejo tiles",
    "tile",
    "blue,teal,navy,green,terracotta,burgundy",
    counts=((6, 8), (4,), (2,)),
    accent="pattern",
    accents="white,cream,gold,grey",
)
def ornate_tiles(d: Draw) -> Surface:
    """Square tiles with one four-fold ornament: a rosette, and arcs that meet across the tiles."""
    lattice = d.lattice(d.count, d.count)
    px, py = lattice.u - 0.5, lattice.v - 0.5
    r, a = torch.sqrt(px**2 + py**2), torch.atan2(py, px)
    corner = torch.sqrt((px.abs() - 0.5) ** 2 + (py.abs() - 0.5) ** 2)
    soft = 0.012
    petals = 0.27 + d.choice(0.06, 0.1) * torch.cos(d.choice(4.0, 4.0, 8.0) * a)
    hole = d.choice(0.09, 0.14)
    figure = smooth(soft, -soft, r - petals) * smooth(-soft, soft, r - hole)
    eye = smooth(soft, -soft, r - hole * 0.55)
    arc = smooth(soft, -soft, (corner - d.choice(0.27, 0.31)).abs() - 0.03)
    dot = smooth(soft, -soft, corner - d.choice(0.1, 0.14))
    figure = torch.maximum(torch.maximum(figure, eye), torch.maximum(arc, dot))
    mask = smooth(0.008, 0.024, lattice.edge())
    glaze = mix(d.shade_cells(d.color, lattice.id, 0.12, 0.04), d.accent, rgb(figure)) * rgb(
        1 + 0.05 * d.noise(2.4, 1, 40)
    )
    albedo = mix(d.color * 0 + 0.4, glaze, rgb(mask))
    return d.surface(albedo, mask * 0.3 + 0.02 * figure, mix(d.zeros() + 0.85, 0.18, mask))


@family(
    "herringbone tiles,chevron tiles,herringbone pattern tiles",
    "tile",
    _GLAZE,
    counts=((6,), (4,), (2,)),
    diagonal=True,
    accent="grout",
    accents=_GROUT,
)
def herringbone_tiles(d: Draw) -> Surface:
    edge, ids, _ = herringbone(d, d.count * 2)
    return _glazed(d, edge * 2 / d.count, ids, 0.03, 0.2)
