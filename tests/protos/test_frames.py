"""Frames packed by hand are what protobuf packs and reads, whatever else the message has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scumble import frames
from scumble.v1 import generation_pb2, image_pb2
from scumble.v1 import live_service_pb2 as messages

CANVAS = messages.PaintRequest.CANVAS_FIELD_NUMBER
HEADER = image_pb2.ImageHeader(extent=image_pb2.Extent(width=80, height=80), channels=3)
SAMPLES = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8).tobytes()


def request(**fields: object) -> messages.PaintRequest:
    return messages.PaintRequest(frame_number=7, strength=0.5, **fields)  # type: ignore[arg-type]


FULL = request(
    parameters=generation_pb2.GenerationParameters(prompt="moss" * 200, seed=2**63),
    canvas=image_pb2.ImageData(header=HEADER),
    extent=image_pb2.Extent(width=64, height=64),
)


@pytest.mark.parametrize(
    "message",
    [FULL, request(canvas=image_pb2.ImageData(header=HEADER)), request()],
    ids=["all of it", "canvas", "no header"],
)
def test_protobuf_reads_what_is_packed_here(message: messages.PaintRequest) -> None:
    found = messages.PaintRequest.FromString(
        frames.packed(message.SerializeToString(), CANVAS, SAMPLES)
    )
    expected = messages.PaintRequest()
    expected.CopyFrom(message)
    expected.canvas.payload = SAMPLES
    assert found == expected


def test_what_protobuf_packs_is_read_here() -> None:
    message = messages.PaintRequest()
    message.CopyFrom(FULL)
    message.canvas.payload = SAMPLES
    for data in (
        message.SerializeToString(),
        frames.packed(FULL.SerializeToString(), CANVAS, memoryview(SAMPLES)),
    ):
        taken = frames.unpacked(data, CANVAS)
        assert taken is not None
        assert taken[1] == SAMPLES
        assert messages.PaintRequest.FromString(taken[0]) == FULL


@pytest.mark.parametrize(
    "data",
    [
        b"",
        FULL.SerializeToString(),
        frames.packed(FULL.SerializeToString(), CANVAS, SAMPLES[:100]),
        frames.packed(frames.packed(b"", CANVAS, SAMPLES), CANVAS, SAMPLES),
        frames.packed(FULL.SerializeToString(), CANVAS, SAMPLES)[:-1],
        frames.packed(b"", CANVAS, SAMPLES) + b"\x0b",
    ],
    ids=["empty", "no samples", "few", "twice", "cut short", "a group"],
)
def test_what_is_left_to_protobuf(data: bytes) -> None:
    assert frames.unpacked(data, CANVAS) is None


@settings(deadline=None)
@given(st.data())
def test_whatever_comes_nothing_but_none_or_the_message_leaves(data: st.DataObject) -> None:
    packed = bytearray(frames.packed(FULL.SerializeToString(), CANVAS, SAMPLES))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, 1100))] = data.draw(st.integers(0, 255))
    taken = frames.unpacked(bytes(packed), CANVAS)
    if taken is None:
        return
    try:
        expected = messages.PaintRequest.FromString(bytes(packed))
    except Exception:  # noqa: BLE001  what protobuf refuses is refused without the samples, too
        return
    found = messages.PaintRequest.FromString(taken[0])
    found.canvas.payload = bytes(taken[1])
    assert found == expected
