"""The server copies a picture once on its way in and twice on its way out, the client once each way.

Counted by memory: a copy that is added anywhere holds the whole picture, which the way as it is never does. What the
disk's cache and gRPC keep is not Python's and not counted.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scumble.client
from core_server.canvas.pixels import ColorSpace, Pixels
from core_server.config import MIB, Limits
from core_server.errors import ImageNotFound
from core_server.jobs import segments
from core_server.jobs.blobs import BlobStore
from core_server.jobs.codec import header_of, raw_bytes
from core_server.jobs.filed import FiledPixels, input_of
from core_server.jobs.segments import Segments
from scumble.client import Client, ImageToImage
from tests.core_server.rpc.gateway import TOKEN, Gateway, running_gateway

SHAPE = (3072, 4096, 4)
PICTURE = 48 * MIB
PIECES = 12 * MIB
"""On their way at once: a few of 1 MiB each, and what is in between."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("copies")) as running:
        running.run(running.jobs.engine.wait_ready())
        yield running


@pytest.fixture
def client(gateway: Gateway) -> Iterator[Client]:
    with scumble.client.connect(gateway.address, token=TOKEN) as client:
        yield client


@contextmanager
def peak() -> Iterator[dict[str, int]]:
    """The most bytes that Python and numpy held at once within the block, above those before it."""
    found: dict[str, int] = {}
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield found
        found["bytes"] = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def picture(value: int) -> np.ndarray[Any, Any]:
    return np.full(SHAPE, value, np.uint8)


def test_client_and_gateway_hold_pieces_and_never_the_picture(client: Client) -> None:
    """Both are in this process. Only what the client asked for is whole in the end."""
    pixels = scumble.client.Pixels.from_numpy(picture(3))
    client.submit(ImageToImage("echo: first", pixels)).result()  # what is loaded on first use
    pixels = scumble.client.Pixels.from_numpy(picture(7))
    with peak() as up:
        image_id = client.upload(pixels)
    assert up["bytes"] < PIECES
    with peak() as job:
        submitted = client.submit(ImageToImage("echo: it", image_id))
        assert list(submitted.watch())[-1].error is None
    assert job["bytes"] < PIECES
    with peak() as down:
        [patch] = submitted.result()
    assert np.array_equal(patch.pixels.numpy(), picture(7))
    assert down["bytes"] < PICTURE * 9 / 8 + 2 * PIECES, (
        "the picture, and blocks of it as they are read"
    )


def test_the_worker_reads_once_and_writes_once(tmp_path: Path) -> None:
    blobs, pixels = BlobStore(tmp_path), Pixels(picture(5))
    image_id = blobs.put(header_of(pixels), raw_bytes(pixels))
    filed = input_of(blobs, image_id, Limits())
    assert isinstance(filed, FiledPixels)
    with peak() as reading:
        read = filed.read()
    assert np.array_equal(read.array, pixels.array)
    assert reading["bytes"] < PICTURE + MIB
    made = Segments(tmp_path)
    try:
        segment = made.for_result(segments.size_of([read]))
        with peak() as packing:
            [placed] = segments.pack(segment, [read])
        assert packing["bytes"] < MIB
        lend = made.lender(segment)
        assert lend is not None
        with peak() as storing:
            result = lend(placed)
            blobs.put(header_of(result), raw_bytes(result))
        assert storing["bytes"] < MIB, "hashed and written from where the worker left it"
        del result
    finally:
        made.shrink(0)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
def test_every_sample_type_comes_to_the_worker_as_it_was_stored(tmp_path: Path, dtype: str) -> None:
    blobs = BlobStore(tmp_path)
    array = (np.random.default_rng(1).random((13, 17, 4)) * 200).astype(dtype)
    pixels = Pixels(array, ColorSpace.LINEAR_REC709)
    taken = input_of(blobs, blobs.put(header_of(pixels), raw_bytes(pixels)), Limits())
    read = taken.read() if isinstance(taken, FiledPixels) else taken
    assert read.array.dtype == array.dtype
    assert np.array_equal(read.array, array)
    assert read.color_space is ColorSpace.LINEAR_REC709


@pytest.mark.parametrize("harm", ["gone", "cut"])
def test_a_file_that_is_harmed_before_the_worker_reads_it_is_told(
    tmp_path: Path, harm: str
) -> None:
    blobs, pixels = BlobStore(tmp_path), Pixels(np.ones((4, 5, 3), np.uint8))
    filed = input_of(blobs, blobs.put(header_of(pixels), raw_bytes(pixels)), Limits())
    assert isinstance(filed, FiledPixels)
    path = Path(filed.path)
    path.unlink() if harm == "gone" else path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ImageNotFound):
        filed.read()
