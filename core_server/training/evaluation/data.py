"""Pictures with known material and colour: fresh renders, their reconstructions, CC0 photographs."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from core_server.training.default_model.photos import CATEGORY_WORDS, load_photos
from core_server.training.materials import FAMILIES, FAMILY_NAMES, render_materials, sample_batch
from core_server.training.materials.colors import COLOR_NAMES

Tensor = torch.Tensor
UNKNOWN = -1

#: photograph category -> the families that such a photograph may show (several: the category is
#: wider than a family); what is missing names no family
CATEGORY_FAMILIES: dict[str, tuple[str, ...]] = {
    "Asphalt": ("asphalt",),
    "Bamboo": ("bamboo",),
    "Bark": ("bark",),
    "Bricks": ("bricks", "herringbone_bricks", "basket_bricks", "stone_blocks", "dry_stone"),
    "Cardboard": ("cardboard",),
    "Carpet": ("carpet",),
    "Chainmail": ("chainmail",),
    "Chipboard": ("chipboard",),
    "Concrete": ("concrete", "concrete_panels", "plaster"),
    "Cork": ("cork",),
    "CorrugatedSteel": ("corrugated_metal",),
    "Fabric": (
        "woven_fabric", "denim", "burlap", "plaid", "stripes", "polka_dots", "knit", "damask",
        "leather", "quilted",
    ),
    "DiamondPlate": ("diamond_plate",),
    "Granite": ("granite",),
    "Grass": ("grass",),
    "Gravel": ("gravel", "pebbles"),
    "Ground": ("dirt", "cracked_mud", "sand", "leaves", "gravel", "grass"),
    "Marble": ("marble",),
    "Metal": ("brushed_metal", "sheet_metal", "hammered_metal", "riveted_panels", "painted_metal"),
    "Moss": ("moss",),
    "Onyx": ("onyx",),
    "Paper": ("paper",),
    "PavingStones": (
        "paving_stones", "cobblestone", "flagstone", "bricks", "herringbone_bricks",
        "basket_bricks", "square_tiles", "hexagon_tiles", "stone_blocks",
    ),
    "Planks": ("wood_planks", "wood_siding"),
    "Plaster": ("plaster",),
    "Rock": ("rock", "sandstone", "slate_wall"),
    "RoofingTiles": ("roof_tiles", "scales"),
    "Rust": ("rusty_metal",),
    "Snow": ("snow",),
    "Terrazzo": ("terrazzo",),
    "ThatchedRoof": ("thatch",),
    "Tiles": (
        "square_tiles", "hexagon_tiles", "subway_tiles", "mosaic", "ornate_tiles", "checkerboard",
        "scales", "herringbone_tiles",
    ),
    "Travertine": ("travertine",),
    "Wood": ("wood_grain",),
    "WoodFloor": ("parquet", "herringbone_parquet", "wood_planks"),
    "WoodSiding": ("wood_siding", "wood_planks"),
}  # fmt: skip


@dataclass
class Labelled:
    """`pixels` (n, 3, 256, 256) uint8 sRGB; `families` (n, families) bool, every family that is
    right; `colors` (n,) index or -1 where the colour has no one name; `may_turn` (n,) bool.
    """

    pixels: Tensor
    families: Tensor
    colors: Tensor
    may_turn: Tensor

    def __len__(self) -> int:
        return len(self.pixels)


def may_turn(family: str) -> bool:
    """Whether a picture turned by 90 degrees is still that family: not where up and down matter."""
    return family not in ("roof_tiles", "scales", "slate_wall", "dry_stone", "wood_siding")


def render_labelled(
    count: int, *, seed: int, device: str, size: int = 256, batch: int = 64, seconds: float = 1e9
) -> Labelled:
    """`count` fresh renders, all families in turn, kept-back colour pairs included.

    Stops after `seconds`, but not before every family was drawn once.
    """
    began = time.monotonic()
    rng = random.Random(seed)  # noqa: S311  not secret
    pixels = torch.empty(count, 3, size, size, dtype=torch.uint8, device=device)
    names: list[str] = []
    colors: list[int] = []
    order: list[str] = []
    turn = 0
    while len(names) < count and (turn < len(FAMILY_NAMES) or time.monotonic() - began < seconds):
        order = order or rng.sample(FAMILY_NAMES, len(FAMILY_NAMES))
        name = order.pop()
        params = sample_batch(rng, name, min(batch, count - len(names)), held_out=True)
        image = render_materials(params, seed=seed * 999_983 + turn, size=size, device=device).image
        pixels[len(names) : len(names) + len(params)] = (image * 255 + 0.5).to(torch.uint8)
        names += [name] * len(params)
        colors += [UNKNOWN if p.tone else COLOR_NAMES.index(p.color) for p in params]
        turn += 1
    index = torch.tensor([FAMILY_NAMES.index(name) for name in names], device=device)
    families = torch.nn.functional.one_hot(index, len(FAMILY_NAMES)).bool()
    turnable = torch.tensor([may_turn(name) for name in names], device=device)
    return Labelled(pixels[: len(names)], families, torch.tensor(colors, device=device), turnable)


def load_labelled_photos(folder: Path, device: str, *, evaluation: bool) -> Labelled:
    """The photographs whose category names families; `evaluation`: the tenth never trained on."""
    by_words = {CATEGORY_WORDS[name]: families for name, families in CATEGORY_FAMILIES.items()}
    photos = [p for p in load_photos(folder, evaluation=evaluation) if p.words in by_words]
    families = torch.zeros(len(photos), len(FAMILY_NAMES), dtype=torch.bool)
    for row, photo in enumerate(photos):
        for name in by_words[photo.words]:
            families[row, FAMILY_NAMES.index(name)] = True
    pixels = torch.stack([torch.from_numpy(p.pixels.copy()).permute(2, 0, 1) for p in photos])
    colors = torch.full((len(photos),), UNKNOWN)
    turnable = torch.ones(len(photos), dtype=torch.bool)
    return Labelled(pixels.to(device), families.to(device), colors.to(device), turnable.to(device))


def family_title(name: str) -> str:
    """The words by which prompts name the family first."""
    return FAMILIES[name].words[0]
