"""Draw the picture of every family: `python -m core_server.training.materials.contact_sheet OUT.jpg`."""

from __future__ import annotations

import random
import sys
import time

import torch
from PIL import Image, ImageDraw

from core_server.training.materials.captions import caption
from core_server.training.materials.family import FAMILIES
from core_server.training.materials.generator import render_materials
from core_server.training.materials.params import MaterialParams, sample_params


def contact_sheet(
    per_family: int = 3, tile_px: int = 160, across: int = 4, seed: int = 1
) -> Image.Image:
    """Every family in its first natural colour and in `per_family` - 1 drawn at random."""
    names = list(FAMILIES)
    rows = -(-len(names) // across)
    cell_w, cell_h = per_family * tile_px + 6, tile_px + 18
    sheet = Image.new("RGB", (across * cell_w, rows * cell_h), "white")
    pen, rng = ImageDraw.Draw(sheet), random.Random(seed)  # noqa: S311  not secret
    for i, name in enumerate(names):
        params = [MaterialParams(name, FAMILIES[name].colors[0])]
        params += [sample_params(rng, name) for _ in range(per_family - 1)]
        began = time.perf_counter()
        pictures = render_materials(params, seed=seed + i).image
        spent = (time.perf_counter() - began) / per_family
        left, top = i % across * cell_w, i // across * cell_h
        pen.text((left + 2, top + 2), f"{name} | {caption(params[1], rng)}"[:80], fill="black")
        for k, picture in enumerate(pictures):
            pixels = (picture.permute(1, 2, 0) * 255 + 0.5).byte().numpy()
            tile = Image.fromarray(pixels).resize((tile_px, tile_px), Image.Resampling.LANCZOS)
            sheet.paste(tile, (left + k * tile_px, top + 16))
        sys.stdout.write(f"{name:22s} {spent * 1e3:5.0f} ms\n")
    return sheet


if __name__ == "__main__":
    torch.set_num_threads(1)
    contact_sheet().save(sys.argv[1], quality=80, optimize=True)
