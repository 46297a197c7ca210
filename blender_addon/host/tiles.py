"""UDIM tiles. Python reaches the pixels of the first one only, so the others pass through image files."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import bpy

from ..bridge.errors import Refused
from ..bridge.pictures import Picture, Source
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
        pattern = f"{name}.{_NUMBER}{suffix}"
        if made.packed_file is not None or len(made.packed_files):
            made.unpack(method="REMOVE")
        made.filepath_raw = str(Path(folder) / pattern)
        if not into_itself:
            made.source = "TILED"
        made.reload()
        made.pack()
        made.colorspace_settings.name = image.colorspace_settings.name
        made.filepath_raw = f"//{pattern}"
    return made


def _files(image: bpy.types.Image, folder: Path) -> dict[int, Path]:
    """Copies of all tiles' files, by number."""
    if image.is_dirty or (not len(image.packed_files) and not image.filepath):
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
