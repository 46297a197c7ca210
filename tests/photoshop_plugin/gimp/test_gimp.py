"""The PSD of a whole generation, read by GIMP: names, places, groups, masks and every sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from photoshop_plugin.files.psd import PsdFile
from photoshop_plugin.flow import generate
from photoshop_plugin.settings import Settings
from scumble.client import Bounds, Inpaint
from tests.photoshop_plugin.gimp.reader import read_psd
from tests.photoshop_plugin.psd_files import write_psd
from tests.photoshop_plugin.scene import SELECTED, SIZE, soft_selection, texture
from tests.photoshop_plugin.scripted_server import ScriptedServer
from tests.photoshop_plugin.test_files import invert


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_gimp_finds_the_same_layers(tmp_path: Path, dtype: str) -> None:
    picture, chosen = texture(*SIZE, dtype), soft_selection(SIZE, SELECTED, dtype)
    path, output, folder = tmp_path / "photo.psd", tmp_path / "out.psd", tmp_path / "read"
    write_psd(path, picture, {"Barn": chosen}, resolution=300)
    server = ScriptedServer(invert)
    settings = Settings(prompt="moss é 北京 \N{HERB}", seed=7, count=2)
    placed = generate(PsdFile(path, output), server, settings)
    [request] = server.requests
    assert isinstance(request, Inpaint)
    box = request.plan.context

    folder.mkdir()
    canvas, layers = read_psd(output, folder)
    assert canvas == (*SIZE, 300.0)
    group, first, second, photo = layers
    assert [(it.depth, it.is_group, it.visible) for it in layers] == [
        (0, True, True),
        (1, False, True),
        (1, False, False),
        (0, False, True),
    ]
    assert [it.name for it in layers] == [
        "Scumble: moss é 北京 \N{HERB}",
        *(it.name for it in placed),
        "Photo",
    ]
    assert photo.pixels is not None
    assert np.array_equal(photo.pixels, picture)
    assert photo.bounds == Bounds(0, 0, *SIZE)
    rows, columns = slice(box.y, box.bottom), slice(box.x, box.right)
    full = np.iinfo(dtype).max
    for layer in (first, second):
        assert layer.bounds == box
        assert layer.pixels is not None and layer.mask is not None
        assert np.array_equal(layer.pixels, full - picture[rows, columns])
        # Masks are written with 8 bits.
        found = np.rint(layer.mask * 255)
        assert np.abs(found - chosen[rows, columns] / full * 255).max() <= 0.5
    assert group.mask is None
