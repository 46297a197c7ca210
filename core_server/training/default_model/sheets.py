"""Sample sheets: fixed prompts, fixed seed, nothing picked."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw

SHEET_PROMPTS: tuple[str, ...] = (
    "red bricks", "mossy brown bricks with white mortar", "herringbone bricks", "grey stone blocks",
    "cobblestone", "large beige cobblestone", "flagstone", "paving stones",
    "white square tiles", "teal hexagon tiles", "navy subway tiles with white grout", "mosaic",
    "black checkerboard", "terrazzo", "terracotta roof tiles", "blue ornate tiles",
    "wood planks", "vertical grey wood planks", "dark brown parquet", "herringbone wood floor",
    "tree bark", "wicker", "bamboo", "chipboard",
    "rusty metal", "diamond plate", "corrugated metal", "gold hammered metal",
    "sci-fi panels with cyan lights", "riveted metal", "brushed metal", "scratched yellow painted metal",
    "burgundy leather", "navy denim", "red plaid fabric", "cream knitted fabric",
    "quilted black leather", "blue striped fabric with white stripes", "grass", "gravel",
    "rippled sand", "cracked mud", "fallen leaves", "snow",
    "white marble with gold veins", "granite", "water", "lava",
)  # fmt: skip


def draw_sheet(
    pictures: torch.Tensor,
    prompts: Sequence[str],
    path: Path,
    *,
    across: int = 8,
    quality: int = 88,
) -> None:
    """Pictures (n, 3, S, S) uint8 with their prompts above them, as a JPEG."""
    side = pictures.shape[-1]
    rows = -(-len(prompts) // across)
    sheet = Image.new("RGB", (across * side, rows * (side + 26)), "white")
    pen = ImageDraw.Draw(sheet)
    for i, prompt in enumerate(prompts):
        left, top = i % across * side, i // across * (side + 26)
        pen.multiline_text(
            (left + 2, top), "\n".join(textwrap.wrap(prompt, side // 6)[:2]), "black"
        )
        tile = Image.fromarray(pictures[i].permute(1, 2, 0).cpu().numpy())
        sheet.paste(tile, (left, top + 26))
    sheet.save(path, quality=quality)


def draw_pairs(before: torch.Tensor, after: torch.Tensor, path: Path, across: int = 8) -> None:
    """Originals above their reconstructions, (n, 3, S, S) uint8."""
    side, n = before.shape[-1], len(before)
    sheet = Image.new("RGB", (across * side, -(-n // across) * 2 * side))
    for i in range(n):
        for k, picture in enumerate((before[i], after[i])):
            tile = Image.fromarray(picture.permute(1, 2, 0).cpu().numpy())
            sheet.paste(tile, (i % across * side, (i // across * 2 + k) * side))
    sheet.save(path, quality=90)
