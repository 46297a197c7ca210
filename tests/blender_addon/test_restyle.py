"""Files that Blender writes and that are written for the artist, without Blender."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from blender_addon.bridge.errors import Refused
from blender_addon.bridge.pictures import Picture
from blender_addon.bridge.restyle import Drawn, RenderFile, decode_targa, write

PIXELS = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
"""RGBA, row 0 on top."""


def targa(kind: int = 2, bits: int = 32, *, from_top: bool = False, comment: bytes = b"") -> bytes:
    """A file as the format's specification has it: BGR(A), the bottom row first unless bit 5 says otherwise."""
    head = bytes([len(comment), 0, kind, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    rows = PIXELS if from_top else PIXELS[::-1]
    order = [2, 1, 0, 3][: bits // 8]
    tail = b"TRUEVISION-XFILE"
    return (
        head + struct.pack("<HHBB", 3, 2, bits, 0x20 if from_top else 8) + comment
        + rows[..., order].tobytes() + tail
    )  # fmt: skip


@pytest.mark.parametrize("from_top", [False, True])
@pytest.mark.parametrize("bits", [24, 32])
def test_targa_is_read_whatever_its_order(bits: int, from_top: bool) -> None:
    found = decode_targa(targa(bits=bits, from_top=from_top, comment=b"Blender"))
    assert np.array_equal(found[..., : bits // 8], PIXELS[..., : bits // 8])
    assert bits == 32 or (found[..., 3] == 255).all()


@pytest.mark.parametrize("data", [targa(kind=10), targa(bits=16)])
def test_other_targa_is_refused(data: bytes) -> None:
    with pytest.raises(Refused, match="cannot read"):
        decode_targa(data)


@pytest.mark.parametrize("opaque", [False, True])
def test_a_render_is_read_once_and_leaves_nothing(tmp_path: Path, opaque: bool) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    path = folder / "render.tga"
    path.write_bytes(targa())
    expected = PIXELS.copy()
    if opaque:
        expected[..., 3] = 255
    assert np.array_equal(RenderFile(path, opaque=opaque).to_wire(), expected)
    assert not folder.exists()


def test_a_viewport_is_turned_over_and_has_no_holes() -> None:
    wire = Drawn(PIXELS[::-1]).to_wire()
    assert np.array_equal(wire[..., :3], PIXELS[..., :3])
    assert (wire[..., 3] == 255).all()


def test_a_picture_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    picture = Picture(1, 1, 3, False, 1, "{}", "", png=b"data")
    assert write(picture, tmp_path / "0001").read_bytes() == b"data"
    assert [path.name for path in tmp_path.iterdir()] == ["0001.png"]
    with pytest.raises(Refused, match=r"could not be written to .*0002\.png: No such file"):
        write(picture, tmp_path / "gone" / "0002")
