"""Repaint on UDIM tiles: each by itself, and by a mask that is painted on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np

from tests.real_server import RealServer

from .conftest import addon
from .test_repaint import SIDE, changed, painted, refusal, repaint, select_faces, textured_cube


def test_udim_tiles_each_by_itself(scumble: Any, server: RealServer, tmp_path: Path) -> None:
    image = bpy.data.images.new("Tiles", SIDE, SIDE, tiled=True)
    image.tiles.new(1002)
    module = addon("host.tiles")
    rng = np.random.default_rng(1)
    encode = addon("bridge.png").encode_png
    old = {n: rng.integers(0, 255, (SIDE, SIDE, 3), np.uint8) for n in (1001, 1002)}
    for number, array in old.items():
        (tmp_path / f"t.{number}.png").write_bytes(encode(array))
    image.filepath = str(tmp_path / "t.<UDIM>.png")
    image.reload()
    cube = textured_cube(image)
    for loop in cube.data.polygons[3].loop_indices:
        cube.data.uv_layers.active.data[loop].uv[0] += 1.0
    select_faces(cube, 3)
    for target in ("NEW", "SAME"):
        scumble.target = target
        made = repaint()
        assert [tile.number for tile in made.tiles] == [1001, 1002]
        read = {s.tile: s.to_wire()[..., :3] for s in module.read_sources(made, (1001, 1002))}
        assert np.array_equal(read[1001], old[1001])
        assert (read[1002] != old[1002]).any()
        part = (read[1002] != old[1002]).any(axis=2).mean()
        assert 0.03 < part < 0.2, "one face of the cube, not the tile"
        assert len(made.packed_files) == 2
        if target == "NEW":
            assert made != image
            scumble.image = image
    bpy.ops.object.mode_set(mode="OBJECT")


def tiled(tmp_path: Path) -> tuple[bpy.types.Image, dict[int, np.ndarray]]:
    """Tiles 1001 and 1003 of noise, of different sizes, and their bytes."""
    image = bpy.data.images.new("Tiles", SIDE, SIDE, tiled=True)
    image.tiles.new(1003)
    rng = np.random.default_rng(1)
    shapes = {1001: (SIDE, SIDE, 3), 1003: (SIDE // 2, SIDE, 3)}
    old = {n: rng.integers(0, 255, shape, np.uint8) for n, shape in shapes.items()}
    for number, array in old.items():
        (tmp_path / f"t.{number}.png").write_bytes(addon("bridge.png").encode_png(array))
    image.filepath = str(tmp_path / "t.<UDIM>.png")
    image.reload()
    return image, old


def paint_tile(mask: bpy.types.Image, number: int, rows: slice, columns: slice) -> None:
    """White on a tile of a mask; row 0 on top."""
    module, pictures = addon("host.tiles"), addon("bridge.pictures")
    (source,) = module.read_sources(mask, (number,))
    before = source.to_wire()
    after = before.copy()
    after[rows, columns, :3] = 255
    picture = source.to_picture(after, before, seed=1, recipe={})
    assert isinstance(picture, pictures.Picture)
    module.replace_tiles(mask, [picture], into_itself=True)


def test_a_mask_is_painted_on_udim_tiles(scumble: Any, server: RealServer, tmp_path: Path) -> None:
    image, old = tiled(tmp_path)
    textured_cube(image)
    assert bpy.ops.scumble.paint_mask() == {"FINISHED"}
    assert bpy.ops.scumble.paint_mask() == {"FINISHED"}
    mask, module = image.scumble_mask, addon("host.tiles")
    assert [tile.number for tile in mask.tiles] == [1001, 1003]
    sizes = {s.tile: (s.width, s.height) for s in module.read_sources(mask, (1001, 1003))}
    assert sizes == {1001: (SIDE, SIDE), 1003: (SIDE, SIDE // 2)}
    assert mask.colorspace_settings.is_data
    assert "mask is empty" in refusal()
    paint_tile(mask, 1003, slice(4, 20), slice(30, 50))
    made = repaint()
    read = {s.tile: s.to_wire()[..., :3] for s in module.read_sources(made, (1001, 1003))}
    assert np.array_equal(read[1001], old[1001])
    wanted = np.zeros((SIDE // 2, SIDE), bool)
    wanted[4:20, 30:50] = True
    differs = changed(read[1003], old[1003])
    assert not differs[~wanted].any()
    assert differs[wanted].mean() > 0.9
    assert made.scumble_mask == mask
    assert bpy.ops.scumble.clear_mask() == {"FINISHED"}
    assert "mask is empty" in refusal()
    # Paint that was not saved, on the tile that Python reaches.
    mask.pixels.foreach_set(np.ones(SIDE * SIDE * 4, np.float32))
    mask.update()
    again = repaint()
    now = {s.tile: s.to_wire()[..., :3] for s in module.read_sources(again, (1001, 1003))}
    assert changed(now[1001], old[1001]).mean() > 0.9
    assert np.array_equal(now[1003], read[1003])
    single = painted()
    single.scumble_mask, scumble.image = mask, single
    assert "'Hand' has none" in refusal()
