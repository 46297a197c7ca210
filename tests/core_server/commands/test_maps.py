"""`scumble maps` and the maps of `scumble generate`: which files there are, how deep, and what was asked for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.core_server.commands.conftest import Scumble

ALL = ("normal", "roughness", "height", "ambient_occlusion")


@pytest.fixture(autouse=True)
def photo(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(np.zeros((6, 9, 3), np.uint8)).save(tmp_path / "in" / "wall.v2.png")


@pytest.mark.parametrize(
    ("arguments", "folder", "asked"),
    [
        (["--map", "all"], "in", "none"),
        (["--map", "all", "-o", "new/maps", "--seamless", "xy"], "new/maps", "xy"),
    ],
    ids=["beside the picture", "in a new folder"],
)
def test_maps_are_files_named_after_the_picture(
    scumble: Scumble, tmp_path, arguments, folder, asked
):
    outcome = scumble("maps", "in/wall.v2.png", *arguments, "--height-bits", "16", "--json")
    assert (outcome.returncode, outcome.stderr) == (0, "")
    told = json.loads(outcome.stdout)["pictures"]
    assert [Path(it["file"]) for it in told] == [
        Path(folder, f"wall.v2-{name}.png") for name in ALL
    ]
    assert {it["recipe"]["seamless"] for it in told} == {asked}
    for name in ALL:
        with Image.open(tmp_path / folder / f"wall.v2-{name}.png") as image:
            assert image.size == (9, 6)
            assert (image.mode == "L") is (name != "height")
            assert not {"gamma", "srgb", "chromaticity"} & set(image.info), "data is no colour"


def test_a_generated_texture_has_its_maps_beside_it(scumble: Scumble, tmp_path: Path):
    options = ("--count", "2", "--map", "normal", "--map", "height", "--map", "normal")
    outcome = scumble("generate", "bricks", "-o", "wall.png", *options)
    assert outcome.returncode == 0, outcome.stderr
    names = sorted(path.name for path in tmp_path.glob("*.png"))
    assert names == [
        "wall-1-height.png",
        "wall-1-normal.png",
        "wall-1.png",
        "wall-2-height.png",
        "wall-2-normal.png",
        "wall-2.png",
    ]
    with Image.open(tmp_path / "wall-1.png") as image:
        assert image.size == (24, 16), "the model's best size"


def test_a_file_is_no_folder_for_maps(scumble: Scumble, tmp_path: Path):
    outcome = scumble("maps", "in/wall.v2.png", "-o", "out.png")
    assert (outcome.returncode, outcome.stdout) == (1, "")
    assert "out.png is no folder" in outcome.stderr
    assert not (tmp_path / "out.png").exists()


def test_a_map_nobody_makes_is_wrong_usage(scumble: Scumble):
    outcome = scumble("maps", "in/wall.v2.png", "--map", "smell")
    assert outcome.returncode == 2
    assert "ambient_occlusion" in outcome.stderr
