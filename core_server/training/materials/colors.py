"""Named colours: the vocabulary of the generator, its captions and the prompt parser."""

from __future__ import annotations

from collections.abc import Iterable

import torch

#: name -> sRGB hex. Kept off the clip limits so that shading has room on both sides.
COLORS: dict[str, str] = {
    "white": "e9e7e2",
    "off-white": "e3ddd0",
    "ivory": "e8dfc6",
    "cream": "ecdcb4",
    "beige": "d0bc96",
    "tan": "b8935f",
    "sand": "cdb27f",
    "khaki": "a69b69",
    "brown": "734a2b",
    "dark brown": "432a1b",
    "chocolate": "552f1e",
    "chestnut": "7f3f27",
    "rust": "a0471f",
    "terracotta": "c1664a",
    "orange": "e07d22",
    "amber": "e0a126",
    "ochre": "b9842e",
    "mustard": "c7a32b",
    "yellow": "e6cb35",
    "gold": "c49a3c",
    "olive": "6d6d33",
    "lime": "9ccb38",
    "green": "338c3c",
    "dark green": "1f4a2a",
    "sage": "93a383",
    "mint": "a3d8b8",
    "teal": "167c7f",
    "turquoise": "3cc2bd",
    "cyan": "35c4dd",
    "sky blue": "82b9e6",
    "blue": "2a5ab5",
    "navy": "1b2a52",
    "indigo": "3f2f86",
    "lavender": "b8a5df",
    "purple": "6d338c",
    "violet": "8a4fc8",
    "magenta": "c4308f",
    "pink": "e594b4",
    "salmon": "e58d78",
    "coral": "ea6c56",
    "red": "b52b2d",
    "crimson": "9d1730",
    "burgundy": "6b1730",
    "maroon": "581a1f",
    "silver": "b4b7ba",
    "grey": "85878a",
    "charcoal": "3b3d40",
    "black": "212224",
}
COLOR_NAMES: tuple[str, ...] = tuple(COLORS)

#: words that mean one of the names above; used in captions and understood in prompts
COLOR_SYNONYMS: dict[str, str] = {
    "gray": "grey",
    "scarlet": "crimson",
    "wine red": "burgundy",
    "ruby": "crimson",
    "emerald": "green",
    "forest green": "dark green",
    "aqua": "turquoise",
    "azure": "sky blue",
    "light blue": "sky blue",
    "royal blue": "blue",
    "cobalt": "blue",
    "dark blue": "navy",
    "midnight blue": "navy",
    "lilac": "lavender",
    "plum": "purple",
    "fuchsia": "magenta",
    "rose": "pink",
    "peach": "salmon",
    "golden": "gold",
    "ebony": "black",
    "jet black": "black",
    "slate grey": "charcoal",
    "dark grey": "charcoal",
    "anthracite": "charcoal",
    "light grey": "silver",
    "lemon": "yellow",
    "caramel": "tan",
    "coffee": "chocolate",
    "eggshell": "off-white",
    "bone": "ivory",
    "snow white": "white",
}

#: tone words that shift a named colour: word -> (gain on linear light, saturation factor, warm shift)
TONES: dict[str, tuple[float, float, float]] = {
    "dark": (0.5, 1.0, 0.0),
    "light": (1.45, 0.8, 0.0),
    "pale": (1.35, 0.55, 0.0),
    "bright": (1.3, 1.25, 0.0),
    "muted": (0.9, 0.55, 0.0),
    "warm": (1.0, 1.0, 0.1),
    "cool": (1.0, 1.0, -0.1),
}


def srgb_to_linear(srgb: torch.Tensor) -> torch.Tensor:
    """sRGB in [0, 1] to linear light in [0, 1] (IEC 61966-2.1), any shape."""
    low, high = srgb / 12.92, ((srgb.clamp(min=0) + 0.055) / 1.055) ** 2.4
    return torch.where(srgb <= 0.04045, low, high)


def linear_to_srgb(linear: torch.Tensor) -> torch.Tensor:
    """Linear light in [0, 1] to sRGB in [0, 1] (IEC 61966-2.1), any shape."""
    low, high = linear * 12.92, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, low, high)


def color_table(names: Iterable[str], device: torch.device | str = "cpu") -> torch.Tensor:
    """Linear RGB of `names`: (n, 3) float32 in [0, 1]."""
    rows = [[int(COLORS[name][i : i + 2], 16) / 255 for i in (0, 2, 4)] for name in names]
    return srgb_to_linear(torch.tensor(rows, dtype=torch.float32)).to(device)


def apply_tone(rgb: torch.Tensor, tone: str) -> torch.Tensor:
    """Shift linear RGB (..., 3) by a tone word of `TONES`; an empty word returns it unchanged."""
    if not tone:
        return rgb
    gain, saturation, warmth = TONES[tone]
    grey = rgb.mean(-1, keepdim=True)
    shifted = (grey + (rgb - grey) * saturation) * gain
    return (shifted * rgb.new_tensor([1 + warmth, 1.0, 1 - warmth])).clamp(0.005, 0.9)
