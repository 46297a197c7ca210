"""Buffers that say what their numbers mean."""

from __future__ import annotations

import numpy as np
import pytest

from scumble.client import ColorSpace, InvalidRequest, Pixels, SampleType


def make(
    data: bytes = bytes(24), width: int = 4, height: int = 2, channels: int = 3, **rest: object
) -> Pixels:
    return Pixels(data, width, height, channels, SampleType.U8, ColorSpace.SRGB, **rest)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", ">u2", ">f4"])
def test_numpy_goes_in_and_comes_out(dtype: str) -> None:
    array = (np.arange(2 * 5 * 3) % 7).reshape(2, 5, 3).astype(dtype)
    pixels = Pixels.from_numpy(array)
    assert (pixels.width, pixels.height, pixels.channels) == (5, 2, 3)
    assert np.array_equal(pixels.numpy(), array)
    assert pixels.tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()


def test_contiguous_arrays_are_not_copied() -> None:
    array = np.zeros((2, 5, 3), np.uint8)
    pixels = Pixels.from_numpy(array)
    array[1, 2, 0] = 9
    assert pixels.numpy()[1, 2, 0] == 9


def test_a_slice_and_a_flat_mask_are_fine() -> None:
    array = np.arange(40, dtype=np.uint8).reshape(5, 8)
    pixels = Pixels.from_numpy(array[::-1, ::2])
    assert pixels.channels == 1
    assert np.array_equal(pixels.numpy()[..., 0], array[::-1, ::2])


@pytest.mark.parametrize(
    "wrong",
    [
        {"data": bytes(23)},
        {"data": bytes(25)},
        {"width": 0},
        {"channels": 2},
        {"icc_profile": b"profile without its colour space"},
    ],
    ids=str,
)
def test_what_does_not_agree_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        make(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2)), np.zeros((2, 2, 3, 1), np.uint8), np.zeros((2, 2), bool)]
)
def test_arrays_of_another_kind_are_refused(array: np.ndarray) -> None:
    with pytest.raises(InvalidRequest):
        Pixels.from_numpy(array)
