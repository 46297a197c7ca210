"""A picture that comes in pieces: the same as in one, checked on the way, and never half there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from core_server.canvas.pixels import Pixels
from core_server.config import Limits
from core_server.errors import InvalidRequest, LimitExceeded
from core_server.jobs import codec
from core_server.jobs.blobs import BlobStore
from core_server.jobs.disk import full_disk_told
from core_server.jobs.images import PIECE_BYTES
from core_server.jobs.local_engine import LocalEngine
from core_server.jobs.service import JobService
from core_server.jobs.uploads import Upload
from tests.core_server.jobs.conftest import config

PIECES = [1, 3, 4096, 300_000, 10_000_000]
"""Bytes; an odd number ends within a sample."""


def picture(dtype: str = "float16") -> Pixels:
    array = np.random.default_rng(5).random((211, 307, 4)).astype(dtype)
    return Pixels(array)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def sent(blobs: BlobStore, pixels: Pixels, size: int, most: int | None = None) -> str:
    """Sends the first `most` bytes in pieces of `size`."""
    payload = bytes(codec.raw_bytes(pixels))
    upload = Upload(blobs, codec.header_of(pixels), len(payload))
    try:
        for start in range(0, len(payload) if most is None else most, size):
            await upload.add(payload[start : start + size])
        return await upload.finish()
    finally:
        await upload.abandon()


@pytest.mark.parametrize("size", PIECES[2:])
async def test_pieces_make_the_image_that_the_whole_would_be(tmp_path: Path, size: int) -> None:
    blobs, pixels = BlobStore(tmp_path / "blobs"), picture()
    image_id = await sent(blobs, pixels, size)
    payload = bytes(codec.raw_bytes(pixels))
    assert image_id == BlobStore(tmp_path / "other").put(codec.header_of(pixels), payload)
    assert blobs.get(image_id) == (codec.header_of(pixels), payload)
    assert b"".join(blobs.blocks(image_id, 100_001)) == payload
    assert await sent(blobs, pixels, size) == image_id, "it is there already"
    assert len(files(tmp_path / "blobs")) == 1
    again = BlobStore(tmp_path / "blobs")
    assert again.get(image_id) == (codec.header_of(pixels), payload)


@pytest.mark.parametrize("size", PIECES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_found_wherever_it_is(size: int, bad: float) -> None:
    pixels = Pixels(np.zeros((1, 5, 3), np.float32))
    pixels.array[0, 1, 1] = bad
    payload = bytes(codec.raw_bytes(pixels))
    check = codec.SampleCheck(codec.header_of(pixels))
    with pytest.raises(InvalidRequest, match="NaN or infinite"):
        for start in range(0, len(payload), size):
            check.add(payload[start : start + size])


async def test_what_is_refused_or_given_up_leaves_nothing(tmp_path: Path) -> None:
    blobs, pixels = BlobStore(tmp_path), picture()
    pixels.array[-1, -1, -1] = np.nan
    with pytest.raises(InvalidRequest):
        await sent(blobs, pixels, 50_000)
    with pytest.raises(ValueError, match="are missing"):
        await sent(blobs, picture(), 50_000, most=100_000)
    sending = asyncio.create_task(sent(blobs, picture("float32"), 10))
    await asyncio.sleep(0)
    sending.cancel()
    await asyncio.wait({sending})
    assert sending.cancelled()
    assert (files(tmp_path), blobs.total_bytes) == ([], 0)


async def test_half_an_upload_is_swept_at_the_next_start(tmp_path: Path) -> None:
    pixels = picture()
    upload = Upload(BlobStore(tmp_path), codec.header_of(pixels), pixels.array.nbytes)
    await upload.add(bytes(4096))
    await upload.add(bytes(4096))  # the first one is written now
    assert len(files(tmp_path)) == 1
    assert BlobStore(tmp_path).total_bytes == 0
    assert files(tmp_path) == []
    await upload.abandon()


@pytest.mark.parametrize("step", ["blob.opened", "blob.written", "blob.synced"])
async def test_a_full_disk_is_told_at_any_step(tmp_path: Path, step: str) -> None:
    def full(reached: str) -> None:
        if reached == step:
            raise OSError(28, "no room")

    blobs = BlobStore(tmp_path, full)
    with pytest.raises(LimitExceeded), full_disk_told():
        await sent(blobs, picture(), 50_000)
    assert (files(tmp_path), blobs.total_bytes) == ([], 0)


@pytest.mark.parametrize("size", [1, PIECE_BYTES, 8 * PIECE_BYTES, 17 * PIECE_BYTES + 5])
async def test_an_image_leaves_in_pieces_whatever_its_size(tmp_path: Path, size: int) -> None:
    array = np.random.default_rng(size).integers(0, 256, (1, size, 1), dtype=np.uint8)
    service = JobService(tmp_path, LocalEngine(config(tmp_path)), Limits())
    await service.start()
    try:
        header = codec.header_of(Pixels(array))
        async with service.images.receiving(header, size) as upload:
            await upload.add(array.tobytes())
            image = await service.images.keep("ada", upload)
        told, pieces = await service.images.stream("ada", image.image_id, None)
        read = [bytes(piece) async for piece in pieces]
    finally:
        await service.stop()
    assert told == header
    assert max(map(len, read)) <= PIECE_BYTES
    assert b"".join(read) == array.tobytes()
