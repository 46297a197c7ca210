"""Maps of pictures of any size: pieces like the whole, tiles stay tiles, every convention as the contract says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from core_server.canvas.geometry import Extent
from core_server.canvas.plan import SeamlessAxes
from core_server.errors import FailedPrecondition, ModelLoadFailed
from core_server.pipelines.map_maker import MAP_NAMES, MapMaker
from core_server.pipelines.maps_network import REACH, WEIGHTS
from tests.core_server.pipelines.conftest import picture
from tests.core_server.pipelines.materials_folder import save_maps

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("model") / "maps"
    save_maps(folder)
    return folder


def image(width: int, height: int) -> np.ndarray:
    return picture(width, height).array.astype(np.float32) / 255


@pytest.mark.parametrize(
    ("axes", "extent"),
    [
        (SeamlessAxes.NONE, (328, 40)),
        (SeamlessAxes.X, (328, 40)),
        (SeamlessAxes.Y, (40, 400)),
        (SeamlessAxes.XY, (264, 264)),
    ],
    ids=str,
)
def test_pieces_show_what_the_whole_would(folder, axes, extent):
    whole = MapMaker(folder, CPU).make(image(*extent), axes)
    maker = MapMaker(folder, CPU, piece=2 * REACH + 64)
    calls = []
    parts = maker.make(image(*extent), axes, lambda: calls.append(1))
    assert len(calls) == maker.passes(Extent(*extent), axes) > 1
    for name in MAP_NAMES:
        assert parts[name] == pytest.approx(whole[name], abs=1e-4), name


@pytest.mark.parametrize("axes", SeamlessAxes, ids=str)
@pytest.mark.parametrize("extent", [(1, 1), (3, 50), (64, 40), (61, 35)], ids=str)
def test_any_size_and_every_range(folder, axes, extent):
    maps = MapMaker(folder, CPU).make(image(*extent), axes)
    width, height = extent
    assert tuple(maps) == MAP_NAMES
    for name, values in maps.items():
        assert values.shape == (height, width, 3 if name == "normal" else 1)
        assert values.dtype == np.float32
        assert 0 <= values.min() <= values.max() <= 1
    lengths = np.linalg.norm(maps["normal"] * 2 - 1, axis=2)
    assert lengths == pytest.approx(1, abs=1e-5)
    assert maps["height"].mean() == pytest.approx(0.5, abs=1e-3)


def test_a_tile_is_the_same_wherever_it_is_cut(folder):
    """Shifts by what the network's coarsest level covers; an axis that does not tile is not wrapped."""
    tile, maker = image(64, 48), MapMaker(folder, CPU)
    straight = maker.make(tile, SeamlessAxes.XY)
    rolled = maker.make(np.roll(tile, (16, 24), (0, 1)), SeamlessAxes.XY)
    only_x = maker.make(np.roll(tile, 24, 1), SeamlessAxes.X)
    for name in MAP_NAMES:
        assert rolled[name] == pytest.approx(np.roll(straight[name], (16, 24), (0, 1)), abs=1e-4)
    assert np.abs(only_x["roughness"] - np.roll(straight["roughness"], 24, 1)).max() > 1e-3


def test_what_lies_beyond_reach_has_no_part_in_it(folder):
    """The promise that pieces rest on."""
    near, far = image(512, 16), image(512, 16)
    far[:, 256 + REACH :] = 0
    maker = MapMaker(folder, CPU)
    one, two = (maker.make(it, SeamlessAxes.NONE)["roughness"] for it in (near, far))
    assert (one[:, :256] == two[:, :256]).all()


def test_without_the_network_there_is_one_sentence(tmp_path):
    with pytest.raises(FailedPrecondition, match="no network for material maps"):
        MapMaker(tmp_path / "maps", CPU).make(image(8, 8), SeamlessAxes.NONE)


def test_a_broken_network_is_refused(tmp_path):
    save_maps(tmp_path / "maps")
    weights = tmp_path / "maps" / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-64])
    with pytest.raises(ModelLoadFailed):
        MapMaker(tmp_path / "maps", CPU).make(image(8, 8), SeamlessAxes.NONE)
