"""CC0 photographs of materials (ambientCG thumbnails) as a small part of the training data."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from core_server.training.materials.colors import COLOR_SYNONYMS, COLORS

#: ambientCG category -> words in captions; what is missing here is left out of training
CATEGORY_WORDS: dict[str, tuple[str, ...]] = {
    "Asphalt": ("asphalt", "tarmac"),
    "Bamboo": ("bamboo",),
    "Bark": ("tree bark", "bark"),
    "Bricks": ("bricks", "brick wall"),
    "Cardboard": ("cardboard",),
    "Carpet": ("carpet",),
    "Chainmail": ("chainmail",),
    "Chipboard": ("chipboard", "osb board"),
    "Clay": ("clay", "plaster"),
    "Concrete": ("concrete", "concrete wall"),
    "Cork": ("cork",),
    "CorrugatedSteel": ("corrugated metal", "corrugated steel"),
    "DiamondPlate": ("diamond plate", "tread plate"),
    "Fabric": ("fabric", "woven fabric", "cloth"),
    "Granite": ("granite",),
    "Grass": ("grass", "lawn"),
    "Gravel": ("gravel",),
    "Ground": ("dirt", "soil", "ground"),
    "Marble": ("marble",),
    "Metal": ("metal", "sheet metal"),
    "Moss": ("moss",),
    "Onyx": ("onyx",),
    "Paint": ("wall paint", "painted wall"),
    "Paper": ("paper",),
    "PavingStones": ("paving stones", "pavers"),
    "Planks": ("wood planks", "wooden planks"),
    "Plaster": ("plaster", "stucco"),
    "Plastic": ("plastic",),
    "Rock": ("rock", "rock face"),
    "Rocks": ("rocks", "stone"),
    "RoofingTiles": ("roof tiles", "shingles"),
    "Rubber": ("rubber",),
    "Rust": ("rusty metal", "rust"),
    "Snow": ("snow",),
    "Terrazzo": ("terrazzo",),
    "ThatchedRoof": ("thatch", "thatched roof"),
    "Tiles": ("tiles", "ceramic tiles"),
    "Travertine": ("travertine",),
    "Wood": ("wood", "wood grain"),
    "WoodFloor": ("wood floor", "parquet"),
    "WoodSiding": ("wood siding",),
}


@dataclass(frozen=True)
class Photo:
    """One 256 px sRGB picture, (256, 256, 3) uint8, and the words for it."""

    pixels: np.ndarray
    words: tuple[str, ...]
    color: str
    small: bool

    def captions(self, rng: random.Random, count: int) -> list[str]:
        """`count` captions; all say "photo"."""
        out = []
        for _ in range(count):
            color = self.color if rng.random() < 0.6 else ""
            if color and rng.random() < 0.2:
                color = rng.choice([s for s, c in COLOR_SYNONYMS.items() if c == color] or [color])
            words = ("small" if self.small else "", color, rng.choice(self.words))
            text = " ".join(word for word in words if word)
            form = rng.choice(
                ("photo of {}", "{} photo", "{}, photo", "photo, {}", "photograph of {}")
            )
            out.append(form.format(text))
        return out


def is_evaluation_photo(path: Path) -> bool:
    """The tenth of the photographs that training never sees."""
    return zlib.crc32(path.stem.encode()) % 10 == 0


def load_photos(folder: Path, *, evaluation: bool = False) -> list[Photo]:
    """Each tile enlarged to 256 px and repeated 2 x 2 at its own sharpness ("small"), flipped."""
    photos = []
    for path in sorted(folder.glob("*.webp")):
        words = CATEGORY_WORDS.get(path.stem.split("_")[0])
        if words is None or is_evaluation_photo(path) != evaluation:
            continue
        picture = Image.open(path).convert("RGB")
        if picture.width != picture.height or picture.width < 100:
            continue
        picture = picture.crop((2, 2, picture.width - 2, picture.height - 2))  # bleed at the rim
        color = nearest_color(np.asarray(picture, np.float32).mean((0, 1)))
        tile = picture.resize((128, 128), Image.Resampling.LANCZOS)
        large = picture.resize((256, 256), Image.Resampling.BICUBIC)
        large = large.filter(ImageFilter.UnsharpMask(1.6, 110, 1))
        small = np.tile(np.asarray(tile), (2, 2, 1))
        for pixels, is_small in ((np.asarray(large), False), (small, True)):
            for flipped in (pixels, pixels[:, ::-1]):
                photos.append(Photo(np.ascontiguousarray(flipped), words, color, is_small))
    return photos


def nearest_color(srgb: np.ndarray) -> str:
    """The colour name nearest to a mean sRGB value (3,) in [0, 255], in OKLab (Ottosson 2020)."""
    names = list(COLORS)
    table = np.array(
        [[int(COLORS[n][i : i + 2], 16) for i in (0, 2, 4)] for n in names], np.float64
    )
    # Photographs are lit, so a colour's render is darker than its albedo.
    distance = ((_oklab(table * 0.92) - _oklab(srgb[None].astype(np.float64))) ** 2).sum(1)
    return names[int(distance.argmin())]


def _oklab(srgb: np.ndarray) -> np.ndarray:
    c = srgb / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    lms = linear @ np.array(
        [[0.4122215, 0.2119035, 0.0883025], [0.5363325, 0.6806995, 0.2817188],
         [0.0514460, 0.1073970, 0.6299787]]
    )  # fmt: skip
    lab: np.ndarray = np.cbrt(lms) @ np.array(
        [[0.2104543, 1.9779985, 0.0259040], [0.7936178, -2.4285922, 0.7827718],
         [-0.0040720, 0.4505937, -0.8086758]]
    )  # fmt: skip
    return lab
