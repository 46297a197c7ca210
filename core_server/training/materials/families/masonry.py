"""Walls and pavements of laid pieces."""

from __future__ import annotations

import torch

from core_server.training.materials.family import Draw, Surface, family
from core_server.training.materials.fields import Tensor, mix, rgb, smooth

_GROUT = "grey,white,black,beige"
_BRICK = "rust,terracotta,brown,red,maroon,tan,chestnut"
_STONE = "grey,beige,tan,charcoal,silver,sand"


def _laid(  # noqa: PLR0917
    d: Draw, edge: Tensor, ids: Tensor, joint: float, crown: float, spread: float
) -> Surface:
    """Pieces in joints: `edge` is the distance to the joint, in units of a piece's height."""
    fine, grain = d.noise2(1.6, 4, 80)
    mask = smooth(joint * 0.5, joint * 1.3, edge + 0.012 * grain)
    piece = d.shade_cells(d.color, ids, spread) * rgb(1 + 0.07 * fine)
    albedo = mix(d.accent * rgb(0.92 + 0.08 * grain), piece, rgb(mask))
    lift = 0.12 * d.per_cell(ids)
    height = mask * (0.4 + lift + crown * smooth(joint, joint + 0.35, edge)) + 0.025 * fine
    return d.surface(albedo, height, mix(d.zeros() + 0.95, 0.8, mask))


@family(
    "bricks,brick wall,brickwork",
    "stone",
    _BRICK,
    counts=((6, 7), (4,), (2, 3)),
    turned="vertical",
    accent="mortar",
    accents=_GROUT,
    layouts="stacked",
)
def bricks(d: Draw) -> Surface:
    """Running bond; stacked puts the joints in line."""
    wobble = d.noise2(3, 1, 30)
    size = 0.004 / d.count
    lattice = d.lattice(
        d.count, d.count * 2, 0.5 * (1 - d.flag("stacked")), wobble[0] * size, wobble[1] * size
    )
    return _laid(d, lattice.edge(2.0), lattice.id, 0.07, 0.08, 0.5)


@family(
    "herringbone bricks,herringbone brick paving",
    "stone",
    _BRICK,
    counts=((6,), (4,), (2,)),
    diagonal=True,
    accent="mortar",
    accents=_GROUT,
)
def herringbone_bricks(d: Draw) -> Surface:
    edge, ids, _ = herringbone(d, d.count * 2)
    return _laid(d, edge, ids, 0.07, 0.08, 0.45)


def herringbone(d: Draw, cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """2:1 herringbone on `cells` (a multiple of 4) half-bricks: edge distance, ids, 1 if upright.

    Cell (i, j) with k = (i - j) mod 4: k 0, 1 are the halves of a lying brick, 2, 3 of an upright.
    """
    n = cells * d.unit
    u, v = d.x * n, d.y * n
    i, j = u.floor(), v.floor()
    fu, fv, k = u - i, v - j, (i - j) % 4
    upright = (k >= 2).float()
    along = torch.where(k == 0, fu, torch.where(k == 1, fu + 1, torch.where(k == 3, fv, fv + 1)))
    across = torch.where(upright > 0, fu, fv)
    edge = torch.minimum(torch.minimum(across, 1 - across), torch.minimum(along, 2 - along))
    head_i = torch.where(k == 1, i - 1, i) % n
    head_j = torch.where(k == 2, j - 1, j) % n
    return edge, (head_j * 64 + head_i).long(), upright


@family(
    "basket weave bricks,basketweave brick pattern",
    "stone",
    _BRICK,
    counts=((8,), (6,), (4,)),
    accent="mortar",
    accents=_GROUT,
)
def basket_bricks(d: Draw) -> Surface:
    """Pairs of bricks, turned in a chequer."""
    lattice = d.lattice(d.count, d.count)
    lying = ((lattice.row + lattice.col) % 2) == 0
    across = torch.where(lying, lattice.v, lattice.u) * 2
    along = torch.where(lying, lattice.u, lattice.v) * 2
    half = across.floor()
    across = across - half
    edge = torch.minimum(torch.minimum(across, 1 - across), torch.minimum(along, 2 - along))
    return _laid(d, edge, lattice.id * 2 + half.long(), 0.08, 0.08, 0.45)


@family(
    "stone blocks,stone block wall,castle wall,ashlar wall",
    "stone",
    _STONE,
    counts=((4, 5), (3,), (2,)),
    accent="mortar",
    accents="charcoal,grey,beige",
)
def stone_blocks(d: Draw) -> Surface:
    """Hewn blocks, hollows and chips on every face."""
    wobble = d.noise2(2.6, 1, 30)
    lattice = d.lattice(
        d.count,
        (d.count * 1.5).round(),
        0.5,
        wobble[0] * 0.01 / d.count,
        wobble[1] * 0.008 / d.count,
    )
    surface = _laid(d, lattice.edge(1.5), lattice.id, 0.06, 0.2, 0.35)
    rough = d.noise(2.0, 3, 60)
    surface.height = surface.height + 0.12 * rough
    surface.albedo = surface.albedo * rgb(1 + 0.1 * rough)
    return surface


@family(
    "dry stone wall,rubble wall,fieldstone wall",
    "stone",
    _STONE,
    counts=((8,), (5, 6), (4,)),
    accent="joints",
    accents="charcoal,dark brown",
)
def dry_stone(d: Draw) -> Surface:
    """Flat irregular stones without mortar."""
    w = d.noise2(3, 1, 30)
    cells = d.cells(d.count, d.count * 2, 0.75, w[0] * 0.01, w[1] * 0.006)
    return _laid(d, cells.edge * 1.6, cells.id, 0.1, 0.35, 0.7)


@family(
    "cobblestone,cobblestones,cobbled street",
    "stone",
    _STONE,
    counts=((10, 11), (7,), (4, 5)),
    accent="joints",
    accents="dark brown,black,grey,beige",
)
def cobblestone(d: Draw) -> Surface:
    """Rounded stones."""
    w = d.noise2(3, 1, 30)
    cells = d.cells(d.count, None, 0.7, w[0] * 0.006, w[1] * 0.006)
    surface = _laid(d, cells.edge * 1.3, cells.id, 0.1, 0.2, 0.6)
    dome = (1 - cells.f1**2).clamp(0)
    surface.height = surface.height * (0.45 + 0.75 * dome)
    return surface


@family(
    "flagstone,flagstones,crazy paving,paving slabs",
    "stone",
    _STONE,
    counts=((5, 6), (4,), (3,)),
    accent="joints",
    accents="grey,charcoal,beige",
)
def flagstone(d: Draw) -> Surface:
    """Big flat broken slabs."""
    cells = d.cells(d.count, None, 0.95)
    surface = _laid(d, cells.edge, cells.id, 0.05, 0.02, 0.5)
    cleft = d.noise(2.2, 2, 60)
    surface.height = surface.height + 0.06 * cleft
    surface.albedo = surface.albedo * rgb(1 + 0.07 * cleft)
    return surface


@family(
    "paving stones,pavers,cobble setts",
    "stone",
    _STONE,
    counts=((9, 10), (6,), (4,)),
    turned="vertical",
    accent="joints",
    accents="charcoal,grey,beige,dark brown",
)
def paving_stones(d: Draw) -> Surface:
    """Square worn setts in rows, every second row moved by half."""
    w = d.noise2(2.6, 2, 30)
    lattice = d.lattice(d.count, d.count, 0.5, w[0] * 0.02 / d.count, w[1] * 0.02 / d.count)
    surface = _laid(d, lattice.edge(), lattice.id, 0.07, 0.25, 0.5)
    surface.height = surface.height + 0.04 * d.noise(1.8, 5, 80)
    return surface


@family(
    "slate wall,stacked slate,stacked stone cladding",
    "stone",
    "charcoal,grey,brown,navy,sage",
    counts=((14, 16), (10,), (7,)),
    turned="vertical",
)
def slate_wall(d: Draw) -> Surface:
    """Thin layers of split stone, each standing out differently."""
    w = d.noise2(3, 1, 30)
    columns = (d.count / 4).round().clamp(min=2)
    jitter = d.per_cell((((d.y + w[1] * 0.003) % 1) * d.count * d.unit).floor().long())
    lattice = d.lattice(columns, d.count, 0.0, w[0] * 0.004 + jitter, w[1] * 0.003)
    lift = d.per_cell(lattice.id)
    edge = lattice.edge(4.0)
    cleft = d.noise(1.8, 3, 70, 2.5, 1.0)
    mask = smooth(0.02, 0.12, edge)
    albedo = d.shade_cells(d.color, lattice.id, 0.6, 0.2) * rgb(
        (0.25 + 0.75 * mask) * (1 + 0.1 * cleft)
    )
    return d.surface(albedo, mask * (0.2 + 0.5 * lift) + 0.05 * cleft, 0.75)
