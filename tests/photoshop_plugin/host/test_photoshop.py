"""Our host, the real photoshop-python-api and the real ExtendScript against the in-memory Photoshop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from photoshop_plugin.document import LayerPatch
from photoshop_plugin.errors import DocumentRefused, ScriptFailed
from photoshop_plugin.host import tiff
from photoshop_plugin.host.photoshop import ComPhotoshop
from scumble.client import Bounds, ColorSpace, Extent, Pixels
from tests.fakes.photoshop import Application, Document
from tests.fakes.photoshop.com import Com
from tests.fakes.photoshop.layer import ArtLayer
from tests.fakes.photoshop.objects import Enum, Fault
from tests.photoshop_plugin.scene import (
    CHANGED,
    CONTEXT,
    ICC,
    LATER,
    SELECTED,
    SIZE,
    TITLE,
    Seen,
    assert_applied,
    open_document,
    patch_for,
    soft_selection,
    texture,
)


def test_describe_says_what_there_is(photoshop: Application, host: ComPhotoshop) -> None:
    document = open_document(photoshop, dtype="uint16", resolution=240.5)
    before = Seen(document)
    found = host.describe()
    assert (found.id, found.name, found.extent) == (document.id, "photo.psd", Extent(*SIZE))
    assert (found.resolution, found.mode, found.bits) == (240.5, "RGB", 16)
    assert (found.profile, found.selection) == ("Adobe RGB (1998)", Bounds(*SELECTED))
    assert before.differences(Seen(document)) == []


@pytest.mark.parametrize(
    "keeps_selection", [True, False], ids=["copy-keeps-selection", "copy-without-selection"]
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("resolution", [72.0, 300.0, 240.5])
def test_capture_reads_exactly_the_rectangle_and_leaves_no_trace(
    com: Com, host: ComPhotoshop, dtype: str, resolution: float, keeps_selection: bool
) -> None:
    com.running = Application(duplicates_keep_selection=keeps_selection)
    document = open_document(com.running, dtype=dtype, resolution=resolution)
    before = Seen(document)
    capture = host.capture(host.describe(), CONTEXT)
    rows, columns = slice(CONTEXT.y, CONTEXT.bottom), slice(CONTEXT.x, CONTEXT.right)
    assert np.array_equal(capture.image.numpy(), before.picture[rows, columns, :3])
    assert np.array_equal(
        capture.selection.numpy()[..., 0], soft_selection(SIZE, SELECTED, dtype)[rows, columns]
    )
    assert (capture.image.color_space, capture.image.icc_profile, capture.icc_profile) == (
        ColorSpace.ICC,
        ICC,
        ICC,
    )
    assert before.differences(Seen(document)) == []


def test_capture_keeps_undone_states_where_photoshop_lets_it(com: Com, host: ComPhotoshop) -> None:
    com.running = Application(duplicates_keep_selection=True)
    document = open_document(com.running)
    document.select(soft_selection(SIZE, LATER))
    document.activeHistoryState = document.history[-2]
    host.capture(host.describe(), CONTEXT)
    assert [state.name for state in document.history] == ["Open", "Lasso", "Lasso"]


@pytest.mark.parametrize("written", ["assocalpha", "unassalpha"])
def test_capture_brings_straight_alpha(com: Com, host: ComPhotoshop, written: str) -> None:
    com.running = Application(tiff_transparency=written)  # type: ignore[arg-type]
    picture = texture(*SIZE, channels=4)
    picture[..., 3] = np.where(picture[..., 3] < 60, 0, 255)
    document = Document(com.running, picture)
    document.select(soft_selection(SIZE, SELECTED))
    image = host.capture(host.describe(), CONTEXT).image.numpy()
    expected = document.flatten()[CONTEXT.y : CONTEXT.bottom, CONTEXT.x : CONTEXT.right]
    assert np.array_equal(image[..., 3], expected[..., 3])
    assert np.array_equal(image[image[..., 3] > 0], expected[expected[..., 3] > 0])


@pytest.mark.parametrize(
    ("icc", "profile", "color_space"),
    [
        (b"", "", ColorSpace.SRGB),
        (ICC, "sRGB IEC61966-2.1", ColorSpace.SRGB),
        (ICC, "P3", ColorSpace.ICC),
    ],
    ids=["untagged", "srgb", "other"],
)
def test_capture_says_what_the_numbers_mean(
    photoshop: Application, host: ComPhotoshop, icc: bytes, profile: str, color_space: ColorSpace
) -> None:
    open_document(photoshop, icc=icc, profile=profile)
    capture = host.capture(host.describe(), CONTEXT)
    assert (capture.image.color_space, capture.icc_profile) == (color_space, icc)


@pytest.mark.parametrize("cut", [True, False], ids=["bounds-cut-by-mask", "bounds-of-pixels"])
@pytest.mark.parametrize("land", ["same", "centre"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("resolution", [72.0, 300.0, 240.5])
def test_apply_is_exact(
    com: Com, host: ComPhotoshop, *, resolution: float, dtype: str, land: str, cut: bool
) -> None:
    com.running = Application(duplicates_land=land, bounds_are_cut_by_mask=cut)  # type: ignore[arg-type]
    document = open_document(com.running, dtype=dtype, resolution=resolution)
    described = host.describe()
    document.select(soft_selection(SIZE, LATER, dtype))
    before, patch = Seen(document), patch_for(document)
    placed = host.apply(described, [patch], TITLE)
    assert_applied(before, [patch])
    assert [(layer.id, layer.bounds) for layer in placed] == [(document.stack[0].id, CONTEXT)]


def test_apply_without_a_selection_makes_none(photoshop: Application, host: ComPhotoshop) -> None:
    document = open_document(photoshop)
    described = host.describe()
    document.select(None)
    before, patch = Seen(document), patch_for(document)
    host.apply(described, [patch], TITLE)
    assert_applied(before, [patch])


def test_variations_become_layers_and_the_first_is_shown(
    photoshop: Application, host: ComPhotoshop
) -> None:
    document = open_document(photoshop)
    before = Seen(document)
    patches = [patch_for(document, f"variation {seed}", seed=seed) for seed in (1, 2, 3)]
    placed = host.apply(host.describe(), patches, TITLE)
    assert_applied(before, patches)
    assert [layer.id for layer in placed] == [layer.id for layer in document.stack[0].stack]


def test_the_patches_own_alpha_goes_into_the_mask(
    photoshop: Application, host: ComPhotoshop
) -> None:
    document = open_document(photoshop)
    before, patch = Seen(document), patch_for(document, channels=4)
    host.apply(host.describe(), [patch], TITLE)
    alpha, mask = patch.pixels.numpy()[..., 3:], patch.mask.numpy()
    product = np.rint(alpha.astype(float) * mask / 255).astype("uint8")
    assert_applied(before, [replace(patch, mask=Pixels.from_numpy(product, ColorSpace.NON_COLOR))])


def test_another_document_in_front_stays_in_front(
    photoshop: Application, host: ComPhotoshop
) -> None:
    document = open_document(photoshop)
    described = host.describe()
    other = Document(photoshop, texture(20, 20), name="other.psd")
    before, other_before = Seen(document), Seen(other)
    host.capture(described, CONTEXT)
    host.apply(described, [patch_for(document)], TITLE)
    assert other_before.differences(Seen(other)) == []
    assert before.differences(Seen(document), but=CHANGED) == []
    assert photoshop.front is other


def closed(document: Document) -> None:
    document.close(Enum("SaveOptions.DONOTSAVECHANGES"))


def resized(document: Document) -> None:
    document.extent = (document.extent[0] + 1, document.extent[1])


@pytest.mark.parametrize(
    ("meanwhile", "code"),
    [(closed, "document_closed"), (resized, "document_resized")],
)
@pytest.mark.parametrize("call", ["capture", "apply"])
def test_a_document_that_changed_is_refused(
    photoshop: Application, host: ComPhotoshop, meanwhile, code: str, call: str
) -> None:
    document = open_document(photoshop)
    described, patch = host.describe(), patch_for(document)
    meanwhile(document)
    layers = list(document.stack)
    with pytest.raises(DocumentRefused) as refused:
        if call == "capture":
            host.capture(described, CONTEXT)
        else:
            host.apply(described, [patch], TITLE)
    assert refused.value.code == code
    assert document.stack == layers
    assert len(photoshop.open_documents) == (code != "document_closed")


def test_nothing_open_and_nothing_selected_have_their_sentences(
    photoshop: Application, host: ComPhotoshop
) -> None:
    with pytest.raises(DocumentRefused, match="No document is open"):
        host.describe()
    document = open_document(photoshop)
    described = host.describe()
    document.select(None)
    with pytest.raises(DocumentRefused, match="Nothing is selected"):
        host.capture(described, CONTEXT)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mode": "INDEXEDCOLOR"}, "RGB Color"),
        ({"mode": "BITMAP", "bits": 1}, "RGB Color"),
        ({"mode": "MULTICHANNEL"}, "RGB Color"),
        ({"mode": "DUOTONE"}, "RGB Color"),
        ({"bits": 1}, "16 Bits/Channel"),
    ],
)
def test_other_kinds_of_documents_are_refused_with_a_way_out(
    photoshop: Application, host: ComPhotoshop, change: dict[str, object], words: str
) -> None:
    open_document(photoshop)
    with pytest.raises(DocumentRefused, match=words):
        replace(host.describe(), **change).require_paintable()  # type: ignore[arg-type]


@pytest.mark.parametrize("member", ["translate", "duplicate", "bounds"])
def test_a_failing_command_rolls_everything_back(
    photoshop: Application, host: ComPhotoshop, monkeypatch: pytest.MonkeyPatch, member: str
) -> None:
    document = open_document(photoshop)
    before = Seen(document)

    def fail(*_: object) -> None:
        raise Fault("Disque de travail plein.")

    fail.is_method = True  # type: ignore[attr-defined]
    monkeypatch.setattr(ArtLayer, member, property(fail) if member == "bounds" else fail)
    with pytest.raises(ScriptFailed, match="Disque de travail plein"):
        host.apply(host.describe(), [patch_for(document)], TITLE)
    assert before.differences(Seen(document)) == []


def test_a_wrong_resolution_in_the_file_moves_nothing(
    photoshop: Application, host: ComPhotoshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_wrong(path: Path, patch: LayerPatch, resolution: float, bits: int) -> None:
        tiff.write_patch(path, patch, resolution / 4, bits)

    monkeypatch.setattr("photoshop_plugin.host.photoshop.write_patch", write_wrong)
    document = open_document(photoshop)
    before, patch = Seen(document), patch_for(document)
    host.apply(host.describe(), [patch], TITLE)
    assert_applied(before, [patch])


def test_the_folder_of_the_session_ends_empty_and_gone(com: Com) -> None:
    com.running = Application()
    document = open_document(com.running)
    with ComPhotoshop(is_running=lambda: True) as host:
        folder = Path(host._folder.name)
        host.capture(host.describe(), CONTEXT)
        host.apply(host.describe(), [patch_for(document)], TITLE)
        assert list(folder.iterdir()) == []
    assert not folder.exists()


@st.composite
def layouts(draw: st.DrawFn) -> tuple[tuple[int, int], tuple[int, int, int, int], Bounds]:
    """Document size, selection box, context around it: 1-px selections and every border included."""

    def span(limit: int) -> tuple[int, int]:
        start = draw(st.integers(0, limit - 1))
        return start, draw(st.integers(start + 1, limit))

    size = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    (left, right), (top, bottom) = span(size[0]), span(size[1])
    outer_left, outer_top = draw(st.integers(0, left)), draw(st.integers(0, top))
    outer_right, outer_bottom = (
        draw(st.integers(right, size[0])),
        draw(st.integers(bottom, size[1])),
    )
    context = Bounds(outer_left, outer_top, outer_right - outer_left, outer_bottom - outer_top)
    return size, (left, top, right - left, bottom - top), context


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(layout=layouts(), dtype=st.sampled_from(["uint8", "uint16"]), resolution=st.floats(1, 2400))
def test_a_model_that_changes_nothing_changes_nothing(
    com: Com, host: ComPhotoshop, layout: tuple, dtype: str, resolution: float
) -> None:
    size, box, context = layout
    # A new Photoshop each time: the host finds it again by itself.
    com.running = Application()
    host._application._runner = None
    document = Document(com.running, texture(*size, dtype), resolution=resolution)
    document.select(soft_selection(size, box, dtype, soft=2.0))
    before = document.flatten()
    described = host.describe()
    assert described.selection == Bounds(*box)
    capture = host.capture(described, context)
    [placed] = host.apply(
        described, [LayerPatch("same", capture.image, capture.selection, context)], TITLE
    )
    assert placed.bounds == context
    assert np.array_equal(document.flatten(), before)


def test_a_look_sees_every_change_and_leaves_no_trace(
    photoshop: Application, host: ComPhotoshop
) -> None:
    document = open_document(photoshop)
    described, before = host.describe(), Seen(document)
    marks = [host.look(described), host.look(described)]
    assert marks[0] == marks[1]
    assert before.differences(Seen(document)) == []
    layer = document.stack[-1]
    for seed in (1, 2):
        layer._state = replace(layer._state, pixels=texture(*SIZE, "uint8", 4, seed))
        document.step("Brush Tool")
        del document.history[1]  # as Photoshop does where there are too many
        document.position -= 1
        marks.append(host.look(described))
    assert len(set(marks)) == 3
    document.mode = Enum("DocumentMode.LAB")
    assert host.look(described) == "", "Photoshop has no histogram there"
    other = Document(photoshop, texture(9, 9))
    assert host.look(described) is None
    assert photoshop.front is other
    document.close(Enum("SaveOptions.DONOTSAVECHANGES"))
    with pytest.raises(DocumentRefused, match="closed"):
        host.look(described)
