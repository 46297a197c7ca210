"""UDIM tiles. Python reaches the pixels of the first one only, so the others pass through image files."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np

from ..bridge.errors import Refused
from ..bridge.pictures import Picture, Source
from ..bridge.png import encode_png
from . import images

_NUMBER = "<UDIM>"


def numbers(image: bpy.types.Image) -> tuple[int, ...]:
    """The image's tiles, such as (1001, 1002)."""
    return tuple(tile.number for tile in image.tiles)


def read_sources(image: bpy.types.Image, wanted: Sequence[int]) -> tuple[Source, ...]:
    """The wanted tiles, unsaved paint included (which packs the image). Raises Refused where one is missing."""
    with tempfile.TemporaryDirectory(prefix="scumble-tiles-") as folder:
        files = _files(image, Path(folder))
        missing = [number for number in wanted if number not in files]
        if missing:
            raise Refused(
                f"The image '{image.name}' has no readable tile {missing[0]}: its file is missing, or the tile was "
                "never made (Image Editor sidebar > Image > UDIM Tiles)."
            )
        return tuple(_read(image, number, files[number]) for number in wanted)


def replace_tiles(
    image: bpy.types.Image, pictures: Sequence[Picture], *, into_itself: bool
) -> bpy.types.Image:
    """The image with these tiles, packed: a new one, or itself."""
    name = bpy.path.clean_name(image.name) or "tiles"
    with tempfile.TemporaryDirectory(prefix="scumble-tiles-") as folder:
        kept = _files(image, Path(folder))
        suffix = next((path.suffix for path in kept.values()), ".png")
        for number, path in kept.items():
            path.replace(Path(folder) / f"{name}.{number}{suffix}")
        for picture in pictures:
            _write(picture, Path(folder) / f"{name}.{picture.tile}{suffix}")
        if into_itself:
            made = image
        else:
            made = bpy.data.images.new(image.name, 1, 1, tiled=True)
            for number in numbers(image):
                if number != made.tiles[0].number:
                    made.tiles.new(number)
        _pack_files(made, Path(folder), f"{name}.{_NUMBER}{suffix}")
        made.colorspace_settings.name = image.colorspace_settings.name
    return made


def create_mask(image: bpy.types.Image, name: str) -> bpy.types.Image:
    """Black tiles as the image has them, packed. Raises Refused where it has no readable tile."""
    sizes = _sizes(image)
    if not sizes:
        raise Refused(f"'{image.name}' cannot have a painted mask: none of its tiles has pixels.")
    made = bpy.data.images.new(name, 1, 1, tiled=True, is_data=True)
    for number in sizes:
        if number not in numbers(made):
            made.tiles.new(number)
    for tile in [tile for tile in made.tiles if tile.number not in sizes]:
        made.tiles.remove(tile)
    _fill_black(made, sizes)
    return made


def clear_mask(mask: bpy.types.Image) -> None:
    """All tiles black again."""
    _fill_black(mask, _sizes(mask))


def _sizes(image: bpy.types.Image) -> dict[int, tuple[int, int]]:
    """Width and height of each tile that has pixels; makes Blender load all of them."""
    sizes = {tile.number: (tile.size[0], tile.size[1]) for tile in image.tiles}
    return {number: size for number, size in sizes.items() if all(size)}


def _fill_black(mask: bpy.types.Image, sizes: dict[int, tuple[int, int]]) -> None:
    name = bpy.path.clean_name(mask.name) or "mask"
    with tempfile.TemporaryDirectory(prefix="scumble-tiles-") as folder:
        for number, (width, height) in sizes.items():
            black = encode_png(np.zeros((height, width, 3), np.uint8), srgb=False)
            (Path(folder) / f"{name}.{number}.png").write_bytes(black)
        _pack_files(mask, Path(folder), f"{name}.{_NUMBER}.png")
    mask.colorspace_settings.is_data = True


def _pack_files(image: bpy.types.Image, folder: Path, pattern: str) -> None:
    """The image takes its tiles from files, which are about to be deleted."""
    if image.packed_file is not None or len(image.packed_files):
        image.unpack(method="REMOVE")
    image.filepath_raw = str(folder / pattern)
    if image.source != "TILED":
        image.source = "TILED"
    image.reload()
    image.pack()
    image.filepath_raw = f"//{pattern}"


def _files(image: bpy.types.Image, folder: Path) -> dict[int, Path]:
    """Copies of all tiles' files, by number."""
    if image.is_dirty or (not len(image.packed_files) and not image.filepath):
        _sizes(image)  # Blender packs the tiles it has loaded, and forgets the others
        image.pack()
    found: dict[int, Path] = {}
    if len(image.packed_files):
        for packed in image.packed_files:
            suffix = Path(packed.filepath).suffix or ".png"
            path = folder / f"tile.{packed.tile_number}{suffix}"
            path.write_bytes(packed.packed_file.data)
            found[packed.tile_number] = path
        return found
    pattern = bpy.path.abspath(image.filepath, library=image.library)
    for number in numbers(image):
        file = Path(pattern.replace(_NUMBER, str(number)))
        if file.is_file():
            path = folder / f"tile.{number}{file.suffix}"
            path.write_bytes(file.read_bytes())
            found[number] = path
    return found


def _read(image: bpy.types.Image, number: int, path: Path) -> Source:
    loaded = bpy.data.images.load(str(path), check_existing=False)
    try:
        loaded.source = "FILE"
        loaded.colorspace_settings.name = image.colorspace_settings.name
        return replace(images.read_source(loaded), tile=number)
    finally:
        bpy.data.images.remove(loaded)


def _write(picture: Picture, path: Path) -> None:
    if picture.png is not None:
        path.write_bytes(picture.png)  # Blender knows a PNG by its first bytes, whatever the name
    elif picture.floats is not None:
        made = images.create_image(picture, "", name=path.stem)
        try:
            made.file_format = "OPEN_EXR"
            made.filepath_raw = str(path)
            made.save()
        finally:
            bpy.data.images.remove(made)
