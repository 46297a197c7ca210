"""Pictures stay in shared memory on their way to disk, and nobody writes over them meanwhile."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np
import pytest

from core_server.canvas.pixels import Pixels
from core_server.jobs import segments as shared
from core_server.jobs.messages import PlacedPixels
from core_server.jobs.segments import Segments


@pytest.fixture
def segments(tmp_path: Path) -> Iterator[Segments]:
    made = Segments(tmp_path)
    yield made
    gc.collect()
    made.shrink(0)


def painted(segments: Segments, value: int, size: int = 4096) -> tuple[SharedMemory, PlacedPixels]:
    segment = segments.for_result(size)
    [placed] = shared.pack(segment, [Pixels(np.full((1, size, 1), value, np.uint8))])
    return segment, placed


def taken(segments: Segments, value: int) -> Pixels | None:
    segment, placed = painted(segments, value)
    lend = segments.lender(segment)
    return None if lend is None else lend(placed)


def test_a_picture_is_where_the_worker_left_it_and_the_next_one_lies_elsewhere(
    segments: Segments,
) -> None:
    segment, placed = painted(segments, 1)
    lend = segments.lender(segment)
    assert lend is not None
    first = lend(placed)
    assert np.shares_memory(first.array, np.frombuffer(segment.buf, np.uint8))
    second = taken(segments, 2)
    assert second is not None
    assert taken(segments, 3) is None, "one segment is left for what comes: this is to be copied"
    assert (first.array == 1).all()
    assert (second.array == 2).all()
    with pytest.raises(ValueError, match="read-only"):
        first.array[0] = 9


def test_a_segment_comes_back_with_the_last_view_of_it(segments: Segments) -> None:
    names = set()
    for value in range(9):
        picture = taken(segments, value)
        assert picture is not None
        view = memoryview(picture.array).cast("B")  # as it is hashed and written
        del picture
        other = taken(segments, value + 100)
        assert other is not None
        assert bytes(view) == bytes([value]) * 4096
        del view, other
        names.add(segments.for_result(4096).name)
    assert len(names) <= 2
    assert segments.made == 2


@pytest.mark.skipif(os.name == "nt", reason="Windows frees a segment with its last handle")
def test_what_is_too_large_to_keep_goes_with_its_last_view(segments: Segments) -> None:
    picture = taken(segments, 7)
    assert picture is not None
    name = segments.for_input(1).name
    segments.shrink(0)
    with pytest.raises(FileNotFoundError):
        SharedMemory(name)
    assert (picture.array == 7).all()
    kept = segments.lender(segments.for_result(4096))
    assert kept is not None
    del picture
    segments.shrink(0)
    assert segments.for_result(4096) is not None
    assert segments.made == 4


def test_frames_pictures_stay_where_they_are_while_the_next_frames_have_room(
    segments: Segments,
) -> None:
    held: list[Pixels] = []
    stayed = 0
    for value in range(6):
        segment = segments.for_output(4096, segments.free_outputs()[0])
        [placed] = shared.pack(segment, [Pixels(np.full((1, 4096, 1), value, np.uint8))])
        held.append(segments.take_output(segment, placed))
        stayed += np.shares_memory(held[-1].array, np.frombuffer(segment.buf, np.uint8))
    assert stayed == shared.OUTPUTS - shared.SLOTS
    assert [int(it.array[0, 0, 0]) for it in held] == list(range(6))
    held.clear()
    gc.collect()
    assert len(segments.free_outputs()) == shared.OUTPUTS


@pytest.mark.skipif(os.name == "nt", reason="Windows frees a segment with its last handle")
def test_at_the_end_nothing_is_left_whoever_still_has_a_picture(segments: Segments) -> None:
    segment, placed = painted(segments, 7)
    lend = segments.lender(segment)
    assert lend is not None
    held, other = lend(placed), segments.for_input(1)
    segments.shrink(0)
    for left in (segment, other):
        with pytest.raises(FileNotFoundError):
            SharedMemory(left.name)
    assert (held.array == 7).all()
