"""A model that changes nothing changes no document, whatever the document is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core_server.canvas.geometry import Bounds, Extent
from core_server.canvas.pixels import SAMPLE_DTYPES, ColorSpace, Pixels
from core_server.canvas.rendition import KEPT_WITHIN, Rendition
from core_server.canvas.resample import document_to_model, model_to_document
from core_server.errors import InvalidRequest
from tests.core_server.canvas import profiles

SPACES = {
    "srgb": (ColorSpace.SRGB, b""),
    "linear": (ColorSpace.LINEAR_REC709, b""),
    "data": (ColorSpace.NON_COLOR, b""),
    "adobe": (ColorSpace.ICC, profiles.matrix()),
    "p3": (ColorSpace.ICC, profiles.p3()),
    "table": (ColorSpace.ICC, profiles.table(9)),
}


@st.composite
def documents(draw) -> Pixels:
    """Any sample type, channels and colour space; floats below 0 and far above white, too."""
    dtype = np.dtype(draw(st.sampled_from(SAMPLE_DTYPES)))
    channels = draw(st.sampled_from([1, 3, 4]))
    space, icc = SPACES[draw(st.sampled_from(sorted(SPACES)))]
    if space is ColorSpace.ICC and channels == 1:
        icc = profiles.grey()
    width, height = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = rng.random((height, width, channels))
    if dtype.kind == "u":
        return Pixels((values * np.iinfo(dtype).max).round().astype(dtype), space, icc)
    low, high = draw(st.sampled_from([(0.0, 1.0), (-0.5, 2.0), (0.0, 60000.0), (0.0, 0.02)]))
    return Pixels((low + values**3 * (high - low)).astype(dtype), space, icc)


@settings(max_examples=400, deadline=None)
@given(documents())
def test_a_model_that_changes_nothing_leaves_the_document_bit_for_bit(document):
    rendition = Rendition.of(document)
    assert rendition.rgb.dtype == np.float32
    assert rendition.rgb.shape == (*document.array.shape[:2], 3)
    assert 0 <= rendition.rgb.min() <= rendition.rgb.max() <= 1
    back = rendition.restore(rendition.rgb)
    assert back.array.dtype == document.array.dtype
    assert back.array.tobytes() == document.array.tobytes()
    assert (back.color_space, back.icc_profile) == (document.color_space, document.icc_profile)


@settings(max_examples=150, deadline=None)
@given(documents(), st.integers(1, 12), st.integers(1, 12))
def test_even_at_another_size(document, columns, rows):
    """Painted at the model's size: what it did not change is the document's, with all its detail."""
    rendition = Rendition.of(document)
    there = document_to_model(rendition.rgb, Extent(8 * columns, 8 * rows), 8)
    seen = model_to_document(there, document.extent, 8)
    assert rendition.restore(seen, seen).array.tobytes() == document.array.tobytes()


@settings(max_examples=150, deadline=None)
@given(documents(), st.integers(0, 2**32 - 1))
def test_alpha_never_passes_through_the_model(document, seed):
    rendition = Rendition.of(document)
    painted = np.random.default_rng(seed).random(rendition.rgb.shape, np.float32)
    result = rendition.restore(painted)
    assert result.array.shape == document.array.shape
    if document.channels == 4:
        assert result.array[..., 3].tobytes() == document.array[..., 3].tobytes()
    if document.array.dtype.kind == "f":
        assert np.isfinite(result.array).all()


@pytest.mark.parametrize("space", ["srgb", "linear", "adobe", "p3"])
@pytest.mark.parametrize("dtype", SAMPLE_DTYPES)
def test_what_is_painted_anew_is_that_colour(space, dtype):
    """A document whose colours the model replaced shows exactly the model's, seen through a new rendition."""
    rng = np.random.default_rng(8)
    scale = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    document = Pixels((rng.random((9, 9, 3)) * 0.2 * scale).astype(dtype), *SPACES[space])
    painted = (0.6 + 0.3 * rng.random((9, 9, 3))).astype(np.float32)
    again = Rendition.of(Rendition.of(document).restore(painted)).rgb
    tolerance = 0.005 if dtype in ("uint8", "float16") else 1e-4
    assert again == pytest.approx(painted, abs=tolerance)


def hdr(dtype="float16") -> Pixels:
    """A grey wall with a sun of 5000 at (2, 2)."""
    array = np.full((12, 12, 3), 0.3, dtype)
    array[2, 2] = [5000, 3000, 900]
    return Pixels(array, ColorSpace.LINEAR_REC709)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_light_above_white_comes_back_where_it_was_kept(dtype):
    document = hdr(dtype)
    rendition = Rendition.of(document)
    assert rendition.tone is not None
    assert rendition.rgb[2, 2, 0] == pytest.approx(1, abs=1e-6)
    assert rendition.rgb[2, 2, 1] < 1, "its colour is still seen"
    painted = rendition.rgb.copy()
    painted[6:] = 0.5
    result = rendition.restore(painted).array.astype(np.float64)
    assert result[2, 2] == pytest.approx([5000, 3000, 900], rel=2**-11)
    assert result[8, 8] == pytest.approx(0.2140, abs=1e-3), "0.5 sRGB in linear light"


def test_light_that_the_model_did_not_see_is_no_measure_for_what_it_paints():
    """A sun under the mask is filled; white painted there is white, and no sun comes back."""
    document = hdr()
    hidden = np.zeros((12, 12), bool)
    hidden[:5, :5] = True
    rendition = Rendition.of(document, hidden)
    assert rendition.tone is None
    painted = rendition.rgb.copy()
    painted[hidden] = 1.0
    result = rendition.restore(painted, rendition.rgb, 1 - hidden.astype(np.float32))
    assert result.array[hidden].max() == 1


def test_a_part_keeps_the_curve_of_the_whole():
    rendition = Rendition.of(hdr())
    part = rendition.cut(Bounds(4, 4, 5, 6))
    assert part.tone == rendition.tone
    assert (part.rgb == rendition.rgb[4:10, 4:9]).all()
    assert part.restore(part.rgb).array.tobytes() == hdr().array[4:10, 4:9].tobytes()


def test_what_was_added_back_fades_with_the_change():
    """Out of sRGB's gamut: kept while the model hardly changes it, gone once it is another colour."""
    document = Pixels(np.full((9, 9, 3), [0, 65535, 0], np.uint16), ColorSpace.ICC, profiles.p3())
    rendition = Rendition.of(document)
    distances = []
    for change in (0.0, 0.2 * KEPT_WITHIN, 0.6 * KEPT_WITHIN, 2 * KEPT_WITHIN):
        painted = np.clip(rendition.rgb - np.float32(change), 0, 1)
        distances.append(float(rendition.restore(painted).array[4, 4, 0]))
    assert distances[0] == 0
    assert distances == sorted(distances)
    plain = Rendition.of(Pixels(np.zeros((9, 9, 3), np.uint16), *SPACES["p3"]))
    assert distances[-1] == plain.restore(painted).array[4, 4, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_numbers_that_are_none_get_a_sentence(bad, dtype):
    array = np.zeros((3, 3, 3), dtype)
    array[1, 1, 1] = bad
    with pytest.raises(
        InvalidRequest, match="NaN or infinite values; every sample must be a finite"
    ):
        Rendition.of(Pixels(array, ColorSpace.LINEAR_REC709))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (hdr(), ["light up to 5000 was shown to the model through a tone curve"]),
        (Pixels(np.full((2, 2, 3), -0.4, np.float32), ColorSpace.LINEAR_REC709), ["beyond sRGB"]),
        (Pixels(np.full((2, 2, 1), 7.0, np.float32), ColorSpace.NON_COLOR), ["outside 0..1"]),
        (Pixels(np.full((2, 2, 3), 7, np.uint8)), []),
    ],
    ids=["HDR", "negative", "data", "nothing to tell"],
)
def test_the_recipe_tells_what_the_model_did_not_see(document, words):
    notes = Rendition.of(document).notes()
    assert len(notes) == len(words)
    assert all(word in note for word, note in zip(words, notes, strict=True))


def test_data_is_never_converted():
    array = np.random.default_rng(1).random((5, 5, 3)).astype(np.float32)
    document = Pixels(array, ColorSpace.NON_COLOR)
    rendition = Rendition.of(document)
    assert (rendition.rgb == array).all()
    painted = np.random.default_rng(2).random((5, 5, 3)).astype(np.float32)
    assert rendition.restore(painted).array == pytest.approx(painted, abs=1e-7)
