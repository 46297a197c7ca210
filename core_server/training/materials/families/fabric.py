"""Cloth, leather and yarn."""

from __future__ import annotations

import torch

from core_server.training.materials.family import Draw, Surface, family
from core_server.training.materials.fields import Tensor, mix, rgb, smooth

_CLOTH = "beige,navy,grey,red,green,cream,blue,charcoal"


def _threads(d: Draw, n: Tensor, over: int, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weave of n * n threads, weft over `over` of every `step` warps, moved one a row (twill).

    Returns relief in [0, 1], a fibre noise, and 1 where the weft (lying thread) is on top.
    """
    count = n * d.unit
    u, v = d.x * count, d.y * count
    iu, iv = u.floor(), v.floor()
    fu, fv = (u - iu - 0.5) * 2, (v - iv - 0.5) * 2
    weft = ((iu + iv) % step) < over
    lying = torch.sqrt((1 - fv**2).clamp(0)) * (0.55 + 0.45 * torch.cos(fu * torch.pi / 2))
    standing = torch.sqrt((1 - fu**2).clamp(0)) * (0.55 + 0.45 * torch.cos(fv * torch.pi / 2))
    fibre = torch.where(weft, d.noise(1, 10, 90, 6, 1), d.noise(1, 10, 90, 1, 6))
    return torch.where(weft, lying, standing), fibre, weft.float()


@family(
    "woven fabric,woven cloth,fabric,linen",
    "fabric",
    _CLOTH,
    counts=((28, 32), (18, 20), (10, 12)),
    diagonal=True,
)
def woven_fabric(d: Draw) -> Surface:
    """Plain weave."""
    relief, fibre, weft = _threads(d, d.count, 1, 2)
    tone = mix(d.uniform(0.85, 1.0), d.uniform(1.0, 1.15), weft)
    albedo = d.color * rgb(
        tone * (0.45 + 0.65 * relief) * (1 + 0.1 * fibre) * (1 + 0.04 * d.noise(2, 1, 20))
    )
    return d.surface(albedo, relief * 0.4 + 0.02 * fibre, 0.9)


@family(
    "denim,twill,jeans fabric",
    "fabric",
    "navy,blue,indigo,charcoal,grey",
    counts=((24,), (16,), (9, 10)),
)
def denim(d: Draw) -> Surface:
    """Twill: slanting ribs of dyed warp with pale weft between them, uneven yarn, worn clouds."""
    n = d.count * d.unit
    yarn = d.noise(1.0, 4, 80, 1, 9)
    rib = 0.5 + 0.5 * torch.cos(2 * torch.pi * (d.x + d.y) * n + 0.25 * yarn)
    thread = 0.5 + 0.5 * torch.cos(6 * torch.pi * d.x * n)
    fade = smooth(-0.6, 2.2, d.noise(2.6, 1, 16))
    weft = smooth(0.45, 0.1, rib) * (0.65 + 0.35 * d.noise(0.8, 20, 90).clamp(-1.5, 1.5))
    pale = d.color * 0.5 + 0.24
    albedo = mix(d.color, pale, rgb((0.5 * weft + 0.2 * fade).clamp(0, 1)))
    albedo = albedo * rgb((0.72 + 0.36 * rib) * (1 + 0.13 * yarn) * (0.95 + 0.1 * thread))
    return d.surface(albedo, rib * 0.22 + 0.02 * yarn + 0.02 * thread, 0.92)


@family(
    "burlap,canvas,hessian,sackcloth",
    "fabric",
    "tan,beige,sand,khaki,cream",
    counts=((26,), (18,), (12,)),
    bump=1.1,
)
def burlap(d: Draw) -> Surface:
    """Coarse uneven yarn with gaps."""
    w = d.noise2(2.4, 3, 40)
    x0, y0 = d.x, d.y
    d.x, d.y = d.x + w[0] * 0.005, d.y + w[1] * 0.005
    relief, fibre, weft = _threads(d, d.count, 1, 2)
    d.x, d.y = x0, y0
    thick = d.warp(d.noise(1.8, 4, 60, 4, 1), 0, 0) * weft + d.noise(1.8, 4, 60, 1, 4) * (1 - weft)
    relief = (relief + 0.12 * thick).clamp(0, 1)
    albedo = d.color * rgb((0.18 + 0.95 * relief) * (1 + 0.14 * fibre))
    return d.surface(albedo, relief * 0.6, 0.95)


@family(
    "plaid fabric,tartan,checked fabric,flannel",
    "fabric",
    "red,green,navy,burgundy,teal",
    counts=((4,), (2,), (1,)),
    diagonal=True,
    accent="stripes",
    accents="black,white,yellow,navy",
)
def plaid(d: Draw) -> Surface:
    """Tartan: the same sett across and along, in twill."""
    n = d.count * d.unit
    edges = [d.uniform(0.14, 0.2), d.uniform(0.03, 0.06)]

    def sett(t: Tensor) -> tuple[Tensor, Tensor]:
        f = (t * n) % 1 - 0.5
        band = smooth(0.006, -0.006, f.abs() - edges[0])
        line = smooth(0.004, -0.004, ((f.abs() - 0.36).abs() - edges[1] * 0.4))
        return band, line

    (bx, lx), (by, ly) = sett(d.x), sett(d.y)
    relief, fibre, weft = _threads(d, d.choice(40.0, 48.0), 2, 4)
    band = mix(bx, by, 0.5)
    line = mix(lx, ly, 0.35 + 0.3 * weft)
    albedo = mix(d.color, d.color * 0.3, rgb(band))
    albedo = mix(albedo, d.accent, rgb(0.9 * line))
    albedo = albedo * rgb((0.75 + 0.3 * relief) * (1 + 0.05 * fibre))
    return d.surface(albedo, relief * 0.12, 0.95)


@family(
    "striped fabric,stripes,striped cloth",
    "fabric",
    "navy,red,blue,green,black",
    counts=((12, 14), (6, 7), (3, 4)),
    turned="horizontal",
    diagonal=True,
    accent="stripes",
    accents="white,cream,grey,yellow",
)
def stripes(d: Draw) -> Surface:
    """Upright stripes in two colours on plain weave."""
    f = (d.x * d.count * d.unit) % 1 - 0.5
    second = smooth(0.02, -0.02, f.abs() - d.choice(0.25, 0.25, 0.12))
    relief, fibre, _ = _threads(d, d.choice(40.0, 48.0), 1, 2)
    albedo = mix(d.color + 0 * rgb(f), d.accent, rgb(second)) * rgb(
        (0.75 + 0.3 * relief) * (1 + 0.05 * fibre)
    )
    return d.surface(albedo, relief * 0.12, 0.92)


@family(
    "polka dot fabric,polka dots,dotted fabric",
    "fabric",
    "red,navy,pink,black,teal,yellow",
    counts=((12,), (8,), (4,)),
    accent="dots",
    accents="white,cream,black,yellow",
)
def polka_dots(d: Draw) -> Surface:
    """Round dots in offset rows."""
    n = d.count * d.unit
    row = (d.y * n).floor()
    u, v = (d.x * n + 0.5 * (row % 2)) % 1 - 0.5, (d.y * n) % 1 - 0.5
    dot = smooth(0.02, -0.02, torch.sqrt(u**2 + v**2) - 0.27)
    relief, fibre, _ = _threads(d, d.choice(40.0, 48.0), 1, 2)
    albedo = mix(d.color + 0 * rgb(u), d.accent, rgb(dot)) * rgb(
        (0.78 + 0.26 * relief) * (1 + 0.04 * fibre)
    )
    return d.surface(albedo, relief * 0.1, 0.9)


@family("carpet,rug,fleece,felt", "fabric", "beige,grey,red,navy,brown,green", bump=1.2)
def carpet(d: Draw) -> Surface:
    """Short dense pile."""
    cells = d.cells(d.choice(28.0, 32.0), None, 1.0)
    tuft = (1 - cells.f1).clamp(0)
    pile, cloud = d.noise(0.8, 16, 90), d.noise(2.4, 1, 20)
    albedo = d.shade_cells(d.color, cells.id, 0.3, 0.08) * rgb(
        (0.45 + 0.7 * tuft) * (1 + 0.1 * pile + 0.06 * cloud)
    )
    return d.surface(albedo, tuft * 0.4 + 0.06 * pile + 0.04 * cloud, 0.98)


@family(
    "knitted fabric,knit,wool knit,knitted wool sweater",
    "fabric",
    "cream,grey,red,navy,green,pink",
    counts=((18, 20), (11, 12), (7, 8)),
    turned="horizontal",
    bump=1.2,
)
def knit(d: Draw) -> Surface:
    """Stocking stitch: columns of V-shaped loops."""
    n = d.count * d.unit
    u = d.x * n
    col = u.floor()
    fu = u - col - 0.5
    slant = torch.where(fu < 0, -fu, fu)
    v = d.y * n * 1.0 + slant * 1.1
    fv = v - v.floor() - 0.5
    lobe = (fu.abs() - 0.25) / 0.25
    yarn = torch.sqrt((1 - (fv * 1.9) ** 2).clamp(0)) * torch.sqrt(
        (1 - (lobe * 0.98) ** 2).clamp(0.02)
    )
    fibre = d.noise(0.9, 12, 90)
    albedo = d.color * rgb((0.25 + 0.85 * yarn) * (1 + 0.1 * fibre))
    return d.surface(albedo, yarn * 0.6 + 0.04 * fibre, 0.95)


@family(
    "leather,genuine leather,leather hide",
    "fabric",
    "brown,black,tan,burgundy,chestnut",
    counts=((24,), (14, 15), (9, 10)),
)
def leather(d: Draw) -> Surface:
    """Pebbled grain of a hide."""
    w = d.noise2(2.8, 2, 24)
    cells = d.cells(d.count, None, 0.85, w[0] * 0.008, w[1] * 0.008)
    pebble = smooth(0.0, 0.26, cells.edge)
    crease, cloud = d.noise(2.2, 2, 60), d.noise(2.8, 1, 12)
    albedo = d.color * rgb((0.55 + 0.5 * pebble) * (1 + 0.05 * crease + 0.06 * cloud))
    return d.surface(albedo, pebble * 0.32 + 0.03 * crease, 0.42)


@family(
    "quilted leather,quilted fabric,padded fabric,tufted upholstery",
    "fabric",
    "brown,black,cream,burgundy,navy,teal",
    counts=((6,), (4,), (2, 3)),
    bump=1.6,
)
def quilted(d: Draw) -> Surface:
    """Padded diamonds with a stitched seam."""
    n = d.count * d.unit
    p, q = (d.x + d.y) * n, (d.x - d.y) * n
    fp, fq = p - p.round(), q - q.round()
    a, b = fp.abs(), fq.abs()
    pad = (
        torch.cos(fp * torch.pi + torch.pi / 2).abs()
        * torch.cos(fq * torch.pi + torch.pi / 2).abs()
    ).sqrt()
    seam = torch.minimum(a, b)
    stitch = smooth(0.018, 0.008, seam) * (
        torch.sin(torch.where(a < b, q, p) * 28 * torch.pi / 2) > 0
    )
    fine = d.noise(1.8, 6, 80)
    albedo = d.color * rgb((0.55 + 0.5 * pad) * (1 + 0.03 * fine) * (1 + 0.7 * stitch))
    return d.surface(albedo, pad * 1.3 + 0.006 * fine + 0.03 * stitch, 0.4)


@family(
    "damask,brocade,jacquard,damask wallpaper",
    "fabric",
    "burgundy,navy,gold,teal,purple,green",
    counts=((6,), (4,), (2,)),
    accent="pattern",
    accents="gold,cream,silver,black",
)
def damask(d: Draw) -> Surface:
    """Woven ornament in offset rows."""
    n = d.count * d.unit
    row = (d.y * n).floor()
    u, v = (d.x * n + 0.5 * (row % 2)) % 1 - 0.5, (d.y * n) % 1 - 0.5
    r, a = torch.sqrt((u * 1.25) ** 2 + v**2), torch.atan2(v, u * 1.25)
    bloom = r - (0.27 + 0.1 * torch.cos(4 * a) + 0.05 * torch.cos(d.choice(8.0, 12.0) * a))
    inner = (r - 0.15 - 0.03 * torch.cos(8 * a)).abs()
    figure = smooth(0.012, -0.012, bloom) * smooth(0.012, 0.028, inner)
    relief, fibre, _ = _threads(d, d.choice(40.0, 48.0), 1, 4)
    albedo = mix(d.color + 0 * rgb(r), d.accent, rgb(0.85 * figure)) * rgb(
        (0.8 + 0.24 * relief) * (1 + 0.04 * fibre)
    )
    return d.surface(albedo, relief * 0.08 + 0.08 * figure, 0.6)
