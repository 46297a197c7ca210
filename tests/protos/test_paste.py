"""The one composite, with numpy and without: the same bytes, and none but the selected ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from scumble.client import (
    Bounds,
    CanvasIntent,
    CanvasPlan,
    ColorSpace,
    Extent,
    FillMode,
    InvalidRequest,
    Patch,
    Pixels,
    SeamlessAxes,
    paste,
)

DTYPES = ("uint8", "uint16", "float16", "float32")


def values(dtype: str) -> st.SearchStrategy[float]:
    if dtype.startswith("u"):
        return st.integers(0, int(np.iinfo(dtype).max))
    return st.floats(0, 8, width=16 if dtype == "float16" else 32)


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, Bounds]:
    """Document, patch, mask and where the patch goes, in any dtype and number of channels."""
    dtype, channels = draw(st.sampled_from(DTYPES)), draw(st.sampled_from([1, 3, 4]))
    width, height = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    bounds = Bounds(x, y, draw(st.integers(1, width - x)), draw(st.integers(1, height - y)))
    document = draw(arrays.arrays(dtype, (height, width, channels), elements=values(dtype)))
    patch = draw(
        arrays.arrays(dtype, (bounds.height, bounds.width, channels), elements=values(dtype))
    )
    mask_dtype = draw(st.sampled_from(DTYPES))
    full = np.iinfo(mask_dtype).max if mask_dtype.startswith("u") else 1
    weights = st.sampled_from([0, full]) | (
        st.integers(0, int(full)) if full > 1 else st.floats(0, 1, width=16)
    )
    mask = draw(arrays.arrays(mask_dtype, (bounds.height, bounds.width), elements=weights))
    return document, patch, mask, bounds


def put(
    document: np.ndarray, patch: np.ndarray, mask: np.ndarray | None, bounds: Bounds, **how: bool
) -> np.ndarray:
    pieces = Patch(
        pixels=Pixels.from_numpy(patch),
        seed=0,
        recipe={},
        bounds=bounds,
        composite_mask=None if mask is None else Pixels.from_numpy(mask, ColorSpace.NON_COLOR),
    )
    return paste(Pixels.from_numpy(document), pieces, **how).numpy()


def same(first: np.ndarray, second: np.ndarray) -> bool:
    return first.tobytes() == second.tobytes()


@given(cases())
def test_with_and_without_numpy_agree_bit_for_bit(
    case: tuple[np.ndarray, np.ndarray, np.ndarray, Bounds],
) -> None:
    assert same(put(*case, use_numpy=True), put(*case, use_numpy=False))


@given(cases(), st.booleans())
def test_only_selected_pixels_change(
    case: tuple[np.ndarray, np.ndarray, np.ndarray, Bounds], use_numpy: bool
) -> None:
    document, patch, mask, bounds = case
    before = document.copy()
    result = put(*case, use_numpy=use_numpy)
    rows, columns = slice(bounds.y, bounds.bottom), slice(bounds.x, bounds.right)
    weight = np.zeros(document.shape[:2])
    weight[rows, columns] = mask / (np.iinfo(mask.dtype).max if mask.dtype.kind == "u" else 1)
    assert same(document, before), "the given document stays as it is"
    assert same(result[weight == 0], document[weight == 0])
    assert same(result[weight == 1], patch[weight[rows, columns] == 1])
    inside, old = result[rows, columns].astype(float), document[rows, columns].astype(float)
    slack = 1e-2 * np.maximum(1, np.maximum(old, patch)) if document.dtype.kind == "f" else 0.51
    assert (inside >= np.minimum(old, patch) - slack).all()
    assert (inside <= np.maximum(old, patch) + slack).all()


@given(cases(), st.booleans())
def test_a_patch_that_changes_nothing_changes_nothing(
    case: tuple[np.ndarray, np.ndarray, np.ndarray, Bounds], use_numpy: bool
) -> None:
    document, _, mask, bounds = case
    piece = document[bounds.y : bounds.bottom, bounds.x : bounds.right].copy()
    assert same(put(document, piece, mask, bounds, use_numpy=use_numpy), document)


@pytest.mark.parametrize("use_numpy", [True, False])
def test_transparent_colour_does_not_bleed(use_numpy: bool) -> None:
    document = np.array([[[0, 0, 0, 0]]], np.uint8)
    patch = np.array([[[200, 100, 50, 255]]], np.uint8)
    result = put(
        document, patch, np.array([[128]], np.uint8), Bounds(0, 0, 1, 1), use_numpy=use_numpy
    )
    assert result.tolist() == [[[200, 100, 50, 128]]]


@pytest.mark.parametrize("use_numpy", [True, False])
def test_a_patch_wraps_around_a_seamless_document(use_numpy: bool) -> None:
    document = np.zeros((4, 5, 1), np.uint8)
    patch = np.arange(1, 10, dtype=np.uint8).reshape(3, 3, 1)
    bounds = Bounds(-1, 2, 3, 3)
    plan = CanvasPlan(
        document=Extent(5, 4), selection=bounds, mask=bounds, context=bounds, model=Extent(8, 8), grow=0,
        feather=0, blend=0, exact_selection=True, fill=FillMode.NONE, intent=CanvasIntent.REFINE, passes=1,
        seamless=SeamlessAxes.XY,
    )  # fmt: skip
    placed = Patch(pixels=Pixels.from_numpy(patch), seed=0, recipe={}, bounds=bounds, plan=plan)
    result = paste(Pixels.from_numpy(document), placed, use_numpy=use_numpy).numpy()[..., 0]
    rolled = np.roll(document[..., 0], (-2, 1), axis=(0, 1))
    rolled[:3, :3] = patch[..., 0]
    assert np.array_equal(result, np.roll(rolled, (2, -1), axis=(0, 1)))


@pytest.mark.parametrize(
    ("patch", "mask", "bounds"),
    [
        (np.zeros((2, 2, 3), np.uint8), None, Bounds(3, 0, 2, 2)),
        (np.zeros((2, 2, 3), np.uint8), None, Bounds(-1, 0, 2, 2)),
        (np.zeros((2, 2, 3), np.uint8), None, Bounds(0, 0, 3, 2)),
        (np.zeros((2, 2, 4), np.uint8), None, Bounds(0, 0, 2, 2)),
        (np.zeros((2, 2, 3), np.uint16), None, Bounds(0, 0, 2, 2)),
        (np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3), np.uint8), Bounds(0, 0, 2, 2)),
    ],
    ids=["outside", "left of it", "other bounds", "other channels", "other depth", "other mask"],
)
def test_a_patch_of_another_document_is_refused(
    patch: np.ndarray, mask: np.ndarray | None, bounds: Bounds
) -> None:
    with pytest.raises(InvalidRequest, match="does not belong to this document"):
        put(np.zeros((4, 4, 3), np.uint8), patch, mask, bounds)
