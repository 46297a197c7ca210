from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scumble import chunks
from scumble.v1 import generation_service_pb2 as messages
from scumble.v1 import image_pb2

SIZES = [1, 127, 128, 16383, 16384, 1 << 20, (1 << 21) + 1]
"""Bytes, on both sides of where a length takes one more."""


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [messages.UploadImageRequest, messages.DownloadImageResponse])
def test_packed_as_protobuf_packs_it(kind: type[messages.UploadImageRequest], size: int) -> None:
    piece = np.random.default_rng(size).bytes(size)
    message = chunks.packed(memoryview(piece))
    assert message == kind(chunk=piece).SerializeToString()
    unpacked = chunks.unpacked(message)
    assert unpacked is not None
    assert unpacked == piece
    assert np.shares_memory(np.frombuffer(unpacked, np.uint8), np.frombuffer(message, np.uint8))


@settings(deadline=None)
@given(st.binary(max_size=40) | st.binary(max_size=20).map(lambda rest: b"\x12" + rest))
def test_what_it_takes_for_a_piece_protobuf_reads_the_same(data: bytes) -> None:
    piece = chunks.unpacked(data)
    if piece is not None:
        message = messages.UploadImageRequest.FromString(data)
        assert message.WhichOneof("part") == "chunk"
        assert message.chunk == piece


@pytest.mark.parametrize(
    "data",
    [
        b"",
        messages.UploadImageRequest(header=image_pb2.ImageHeader(channels=3)).SerializeToString(),
        chunks.packed(b"abc") + chunks.packed(b"abc"),
        chunks.packed(b"abc")[:-1],
        b"\x12\xff\xff\xff\xff\xff",
    ],
    ids=["nothing", "a header", "two pieces", "cut", "an endless length"],
)
def test_everything_else_is_left_to_protobuf(data: bytes) -> None:
    assert chunks.unpacked(data) is None
