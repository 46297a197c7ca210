from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import ColorSpace
from core_server.errors import ImageNotFound
from core_server.jobs.blobs import BlobStore
from core_server.jobs.job import ImageHeader


def header(color_space: ColorSpace = ColorSpace.SRGB, profile: bytes = b"") -> ImageHeader:
    return ImageHeader(
        extent=Extent(2, 1),
        channels=3,
        dtype="uint8",
        color_space=color_space,
        icc_profile=profile,
    )


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_the_id_names_header_and_payload(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    ids = {
        blobs.put(header(), b"abcdef"),
        blobs.put(header(), b"abcdeg"),
        blobs.put(header(ColorSpace.NON_COLOR), b"abcdef"),
        blobs.put(header(ColorSpace.ICC, b"\0profile\xff"), b"abcdef"),
    }
    assert len(ids) == 4
    assert blobs.put(header(), b"abcdef") in ids
    assert len(files(tmp_path)) == 4
    again = BlobStore(tmp_path)
    assert {again.get(image_id) for image_id in ids} == {
        (header(), b"abcdef"),
        (header(), b"abcdeg"),
        (header(ColorSpace.NON_COLOR), b"abcdef"),
        (header(ColorSpace.ICC, b"\0profile\xff"), b"abcdef"),
    }
    assert again.total_bytes == blobs.total_bytes == sum(f.stat().st_size for f in files(tmp_path))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_nobody_else_can_read(tmp_path: Path) -> None:
    folder = tmp_path / "blobs"
    BlobStore(folder).put(header(), b"abcdef")
    for path in (folder, *folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_half_written_files_are_swept_and_never_served(tmp_path: Path) -> None:
    image_id = BlobStore(tmp_path).put(header(), b"abcdef")
    half = tmp_path / image_id[:2] / f"{image_id[:-1]}0.abcd.part"
    half.write_bytes(b"SCUMBLE1")
    blobs = BlobStore(tmp_path)
    assert not half.exists()
    with pytest.raises(ImageNotFound):
        blobs.get(f"{image_id[:-1]}0")


@pytest.mark.parametrize("harm", ["cut", "empty", "gone", "other"])
def test_a_damaged_blob_is_not_found_and_can_be_stored_again(tmp_path: Path, harm: str) -> None:
    blobs = BlobStore(tmp_path)
    image_id = blobs.put(header(), b"abcdef")
    path = tmp_path / image_id[:2] / image_id
    data = path.read_bytes()
    match harm:
        case "gone":
            path.unlink()
        case "cut":
            path.write_bytes(data[:-1])
        case "empty":
            path.write_bytes(b"")
        case "other":
            path.write_bytes(b"x" + data[1:])
    with pytest.raises(ImageNotFound):
        blobs.get(image_id)
    assert blobs.put(header(), b"abcdef") == image_id
    assert blobs.get(image_id) == (header(), b"abcdef")


@pytest.mark.parametrize("image_id", ["", "..", "../../jobs.sqlite3", "0" * 64, "é" * 64])
def test_ids_that_name_nothing(tmp_path: Path, image_id: str) -> None:
    with pytest.raises(ImageNotFound):
        BlobStore(tmp_path).get(image_id)


def test_discarding_goes_by_age_and_spares_what_is_needed(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    first, second, third = (blobs.put(header(), bytes([k]) * 6) for k in range(3))
    assert blobs.unused({second}, since=float("inf")) == [first, third]
    assert blobs.unused(set(), since=0) == []
    assert blobs.discard([first, "unknown"]) > 0
    assert not blobs.touch(first)
    assert blobs.discard([third], used_before=0) == 0
    assert blobs.touch(third)
