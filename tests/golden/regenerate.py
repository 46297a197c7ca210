"""Writes plan.json and composite.png of every golden case, and the inputs of cases that have none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from tests.golden.golden import CASES, make, names, plan_text, write

TILE = {"seamless": "xy", "fill": "border", "grow": 4, "feather": 8}
INPUTS: dict[str, tuple[tuple[int, int], int, str, dict[str, Any]]] = {
    "small_selection": ((320, 240), 3, "dot", {"strength": 1.0, "prompt": "x", "options": {}}),
    "corner": (
        (301, 211),
        3,
        "corner",
        {"strength": 1.0, "prompt": "x", "options": {"grow": 6, "feather": 10}},
    ),
    "two_passes": (
        (360, 300),
        3,
        "large",
        {"strength": 1.0, "prompt": "x", "options": {"padding": 40}},
    ),
    "refine": ((320, 240), 3, "soft", {"strength": 0.5, "prompt": "x", "options": {}}),
    "exact_selection": (
        (200, 150),
        3,
        "soft",
        {"strength": 1.0, "prompt": "x", "options": {"exact_selection": True}},
    ),
    "remove": (
        (200, 160),
        3,
        "dot",
        {"strength": 0.8, "prompt": "", "options": {"intent": "remove_object"}},
    ),
    "tile": (
        (128, 128),
        3,
        "across",
        {
            "strength": 1.0,
            "prompt": "x",
            "options": TILE,
        },
    ),
    "alpha": (
        (160, 120),
        4,
        "soft",
        {"strength": 1.0, "prompt": "x", "options": {"fill": "neutral"}},
    ),
    "deep": ((160, 120), 16, "soft", {"strength": 0.5, "prompt": "x", "options": {}}),
    "sliver": ((300, 5), 3, "all", {"strength": 1.0, "prompt": "x", "options": {}}),
}
"""By name: extent, channels (16: three of 16 bit), kind of selection, options.json."""


def main() -> None:
    """Everything is written again; look at `git diff` afterwards."""
    for name in add_missing():
        print(f"new case {name}")
    for name in names():
        plan, composite = make(CASES / name)
        (CASES / name / "plan.json").write_text(plan_text(plan))
        write(CASES / name / "composite.png", composite)


def add_missing() -> Iterator[str]:
    """Draws the inputs of cases that are in INPUTS alone."""
    for name, (extent, channels, kind, options) in INPUTS.items():
        folder = CASES / name
        if (folder / "options.json").is_file():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / "document.png", _document(*extent, channels))
        write(folder / "selection.png", _selection(*extent, kind)[..., None])
        (folder / "options.json").write_text(json.dumps(options, indent=2) + "\n")
        yield name


def _document(width: int, height: int, channels: int) -> npt.NDArray[Any]:
    """Sky, ground and stripes: smooth and sharp, and different in every corner."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    u, v = x / width, y / height
    planes = [0.2 + 0.6 * u, 0.35 + 0.4 * v, 0.8 - 0.5 * u * v]
    image = np.stack(planes, axis=2)
    image[(x // 16 + y // 16) % 4 == 0] *= 0.7
    if channels == 16:
        return (image * 65535).round().astype(np.uint16)
    if channels == 4:
        image = np.concatenate([image, np.clip(1.6 - 1.2 * u, 0, 1)[..., None]], axis=2)
    return (image * 255).round().astype(np.uint8)


def _selection(width: int, height: int, kind: str) -> npt.NDArray[np.uint8]:
    mask = np.zeros((height, width), np.uint8)
    if kind == "all":
        mask[:] = 255
    elif kind == "corner":
        mask[:40, width - 60 :] = 255
    elif kind == "across":
        cv2.circle(mask, (width // 2, height // 2), width // 6, 255, -1)
        mask = np.roll(mask, (height // 2, width // 2), (0, 1))
    else:
        radius = {"dot": 14, "large": min(width, height) // 3, "soft": min(width, height) // 4}[
            kind
        ]
        cv2.circle(mask, (width // 2 + 11, height // 2 - 7), radius, 255, -1)
        if kind == "soft":
            mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), 6), np.uint8)
    return mask


if __name__ == "__main__":
    main()
