"""`scumble demo`, the first command of the README; Blender's part of it is tested beside Blender."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image

from tests.core_server.commands.conftest import Scumble


def samples(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_the_page_shows_every_picture(scumble: Scumble, tmp_path: Path) -> None:
    outcome = scumble("demo", "--out", "pictures")
    assert outcome.returncode == 0, outcome.stderr
    folder = tmp_path / "pictures"
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert (folder / "index.html").as_uri() in outcome.stdout
    shown = re.findall(r'<img src="([^"]+)" alt="[^"]+"', page)
    assert sorted(shown) == sorted(path.name for path in folder.glob("*.png"))
    assert len(shown) == 9
    photo, selection, painted = (
        samples(folder / f"photo{it}.png") for it in ("", "-selection", "-inpainted")
    )
    kept = selection[..., 0] == 0
    assert np.array_equal(painted[kept], photo[kept])
    assert (painted[~kept] != photo[~kept]).any()
    tiled = samples(folder / "texture-tiled.png")
    assert np.array_equal(tiled, np.tile(samples(folder / "texture.png"), (2, 2, 1)))
