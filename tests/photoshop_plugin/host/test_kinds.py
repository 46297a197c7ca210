"""Other modes and depths, other sources than what is visible, groups, artboards, canvas growth, new documents."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from photoshop_plugin.document import Arrangement, LayerPatch, Sides, Source
from photoshop_plugin.errors import DocumentRefused
from photoshop_plugin.host.photoshop import ComPhotoshop
from photoshop_plugin.host.tiff import linear_to_srgb, srgb_to_linear
from scumble.client import Bounds, ColorSpace, Pixels
from tests.fakes.photoshop import Application, Document
from tests.fakes.photoshop.com import Com
from tests.fakes.photoshop.layer import ArtLayer, GroupState, LayerSet, LayerState
from tests.fakes.photoshop.samples import COMPONENTS, convert_mode, full_scale, on_canvas
from tests.photoshop_plugin.scene import (
    CHANGED,
    CONTEXT,
    SELECTED,
    SIZE,
    TITLE,
    Seen,
    open_document,
    patch_for,
    soft_selection,
    texture,
)

ROWS, COLUMNS = slice(CONTEXT.y, CONTEXT.bottom), slice(CONTEXT.x, CONTEXT.right)
PROFILES = {"CMYK": "Coated FOGRA39", "GRAYSCALE": "Dot Gain 20%", "LAB": "", "RGB": "P3 (Linear)"}


@pytest.mark.parametrize(
    ("mode", "dtype"),
    [
        ("CMYK", "uint8"),
        ("CMYK", "uint16"),
        ("LAB", "uint8"),
        ("LAB", "uint16"),
        ("GRAYSCALE", "uint8"),
        ("GRAYSCALE", "float32"),
        ("RGB", "float32"),
    ],
)
@pytest.mark.parametrize("profile", ["tagged", "untagged"])
@pytest.mark.parametrize(
    "keeps_selection", [True, False], ids=["copy-keeps-selection", "copy-without-selection"]
)
def test_other_modes_and_depths_are_converted_in_copies_alone(
    com: Com, host: ComPhotoshop, *, mode: str, dtype: str, profile: str, keeps_selection: bool
) -> None:
    com.running = Application(duplicates_keep_selection=keeps_selection)
    name = PROFILES[mode] if profile == "tagged" else ""
    icc = name.encode()
    document = open_document(
        com.running,
        dtype=dtype,
        channels=COMPONENTS[mode],
        mode=mode,
        profile=name,
        icc=icc,
    )
    before, described = Seen(document), host.describe()
    described.require_paintable()
    assert (described.mode, described.bits) == (mode, np.dtype(dtype).itemsize * 8)
    capture = host.capture(described, CONTEXT)
    assert before.differences(Seen(document)) == []
    shown = convert_mode(before.picture, mode, "RGB")[ROWS, COLUMNS, :3]
    assert np.array_equal(capture.image.numpy(), shown)
    is_float = dtype == "float32"
    space = ColorSpace.LINEAR_REC709 if is_float else ColorSpace.SRGB
    assert (capture.image.color_space, capture.icc_profile) == (space, b"")
    selected = soft_selection(SIZE, SELECTED, dtype)
    assert np.array_equal(capture.selection.numpy()[..., 0], selected[ROWS, COLUMNS])

    com.running.conversions.clear()
    painted = texture(CONTEXT.width, CONTEXT.height, dtype, 3, 21)
    if is_float:
        painted *= 7  # brighter than white stays so
    patch = LayerPatch("p", Pixels.from_numpy(painted, space), capture.selection, CONTEXT)
    host.apply(described, [patch], TITLE)
    assert before.differences(Seen(document), but=CHANGED) == []
    assert [state.name for state in document.history[-2:]] == ["Lasso", TITLE]
    state = document.stack[0]._state
    opaque = np.full(painted.shape[:2], full_scale(painted), dtype)
    wanted = convert_mode(np.dstack([painted, opaque]), "RGB", mode)
    assert np.array_equal(state.pixels, wanted)
    assert (state.x, state.y, state.pixels.dtype) == (CONTEXT.x, CONTEXT.y, np.dtype(dtype))
    assert np.array_equal(
        on_canvas(state.mask, state.mask_x, state.mask_y, SIZE[1], SIZE[0]), selected
    )
    after = document.flatten()
    assert np.array_equal(after[selected == 0], before.picture[selected == 0])
    assert bool(com.running.conversions) == (mode != "RGB" or bool(name))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_result_in_another_light_is_converted(
    photoshop: Application, host: ComPhotoshop, dtype: str
) -> None:
    """sRGB pixels, as from a prompt alone, in a document of any depth."""
    document = open_document(photoshop, dtype=dtype, icc=b"", profile="")
    painted = texture(CONTEXT.width, CONTEXT.height, "uint8", 3, 21)
    patch = LayerPatch("p", Pixels.from_numpy(painted, ColorSpace.SRGB), None, CONTEXT)
    host.apply(host.describe(), [patch], TITLE)
    unit = document.stack[0]._state.pixels[..., :3] / full_scale(np.empty(0, dtype))
    expected = painted / 255
    if dtype == "float32":
        expected = srgb_to_linear(expected)
    assert np.allclose(unit, expected, atol=1e-6)


def test_the_curve_of_srgb_goes_back_and_forth() -> None:
    values = np.linspace(0, 4, 999, dtype="float32")
    assert np.allclose(linear_to_srgb(srgb_to_linear(values)), values, atol=1e-5)
    assert srgb_to_linear(np.array([0, 0.5, 1.0])) == pytest.approx([0, 0.21404, 1], abs=1e-5)


def layered(application: Application, *, empty: bool = False) -> tuple[Document, dict[str, Layer]]:
    """Background, a group with two layers of which the upper one is clipped and active, and a layer on top."""
    document = Document(application, texture(*SIZE))
    group = LayerSet(document, GroupState("Group"))

    def layer(name: str, seed: int, clipped: bool = False) -> ArtLayer:
        pixels = texture(80, 70, "uint8", 4, seed)
        pixels[..., 3] = 0 if empty and name == "upper" else 255
        return ArtLayer(document, LayerState(name, pixels, 130, 10, clipped=clipped))

    upper, lower, top = layer("upper", 2, clipped=True), layer("lower", 3), layer("top", 4)
    group.stack[:] = [upper, lower]
    document.stack[:0] = [top, group]
    document.active = upper
    document.select(soft_selection(SIZE, SELECTED))
    document.saved_state = document.history[-1]
    return document, {"upper": upper, "lower": lower, "top": top, "group": group}


Layer = ArtLayer | LayerSet


@pytest.mark.parametrize("keeps_selection", [True, False])
@pytest.mark.parametrize(
    ("source", "active", "hidden"),
    [
        (Source.MERGED, "upper", ()),
        (Source.LAYER, "upper", ("top", "lower")),
        (Source.LAYER, "group", ("top",)),
        (Source.BELOW, "upper", ("top",)),
        (Source.BELOW, "lower", ("top", "upper")),
    ],
)
def test_what_is_read(
    com: Com,
    host: ComPhotoshop,
    *,
    source: Source,
    active: str,
    hidden: tuple[str, ...],
    keeps_selection: bool,
) -> None:
    com.running = Application(duplicates_keep_selection=keeps_selection)
    document, layers = layered(com.running)
    document.active = layers[active]
    document.step("Select Layer")
    before = Seen(document)
    found = host.capture(host.describe(), CONTEXT, source)
    assert before.differences(Seen(document)) == []
    for name in hidden:
        layers[name]._state = replace(layers[name]._state, visible=False)
    if source is Source.LAYER:
        document.stack[-1]._state = replace(document.stack[-1]._state, visible=False)
        layers["upper"]._state = replace(layers["upper"]._state, clipped=active == "group")
    expected = document.flatten()[ROWS, COLUMNS]
    image = found.image.numpy()
    if source is Source.LAYER:
        assert found.image.channels == 4
        assert np.array_equal(image[..., 3], expected[..., 3])
        assert (image[..., 3] == 0).any()
    covered = expected[..., 3] > 0
    assert np.array_equal(image[covered][:, :3], expected[covered][:, :3])
    wanted = soft_selection(SIZE, SELECTED)[ROWS, COLUMNS]
    assert np.array_equal(found.selection.numpy()[..., 0], wanted)


def test_a_layer_that_is_gone_is_refused(photoshop: Application, host: ComPhotoshop) -> None:
    document, layers = layered(photoshop)
    described = host.describe()
    layers["group"].stack.remove(layers["upper"])
    document.active = layers["lower"]
    with pytest.raises(DocumentRefused, match="is gone"):
        host.capture(described, CONTEXT, Source.LAYER)
    assert photoshop.open_documents == [document]


@pytest.mark.parametrize("groups_land", ["top", "active"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("above", ["top of all", "upper", "gone"])
def test_layers_stand_where_they_are_wanted(
    com: Com, host: ComPhotoshop, *, count: int, above: str, groups_land: str
) -> None:
    com.running = Application(groups_land=groups_land)  # type: ignore[arg-type]
    document, layers = layered(com.running)
    before = Seen(document)
    below = {"upper": layers["upper"].id, "gone": 9999}.get(above)
    patches = [patch_for(document, f"v{seed}", seed=seed) for seed in range(count)]
    placed = host.apply(
        host.describe(), patches, TITLE, Arrangement(above=below, group='Scumble: "moss"')
    )
    stack = layers["group"].stack if above == "upper" else document.stack
    if count > 1:
        group = stack[0]
        assert isinstance(group, LayerSet)
        assert group.name == 'Scumble: "moss"'
        made = group.stack
    else:
        made = stack[:1]
    assert [layer.name for layer in made] == [patch.name for patch in patches]
    assert [layer.id for layer in made] == [layer.id for layer in placed]
    assert [layer.visible for layer in made] == [True, False, False][:count]
    assert before.differences(Seen(document), but=CHANGED) == []
    assert [state.name for state in document.history[-2:]] == ["Lasso", TITLE]
    document.activeHistoryState = document.history[-2]
    assert before.differences(Seen(document)) == []


@pytest.mark.parametrize("state", ["hidden", "empty", "locked background"])
def test_a_special_active_layer_stays_as_it_is(
    photoshop: Application, host: ComPhotoshop, state: str
) -> None:
    document, layers = layered(photoshop, empty=state == "empty")
    if state == "hidden":
        layers["upper"]._state = replace(layers["upper"]._state, visible=False)
    if state == "locked background":
        document.active = document.stack[-1]
    document.step("Layers")
    before, described = Seen(document), host.describe()
    assert described.layer == document.active.id
    host.capture(described, CONTEXT)
    assert before.differences(Seen(document)) == []
    host.apply(described, [patch_for(document)], TITLE)
    assert before.differences(Seen(document), but=CHANGED) == []
    assert Seen(document).facts["layers"][1:] == before.facts["layers"]


@pytest.mark.parametrize("keeps_selection", [True, False])
@pytest.mark.parametrize("selected", [True, False])
@pytest.mark.parametrize("source", list(Source))
@pytest.mark.parametrize("grow", [(0, 0, 0, 40), (31, 0, 9, 0), (5, 17, 0, 3)])
def test_a_merged_copy_as_large_as_all_artboards_is_read_at_the_same_place(
    com: Com,
    host: ComPhotoshop,
    *,
    grow: tuple[int, int, int, int],
    source: Source,
    selected: bool,
    keeps_selection: bool,
) -> None:
    expected = []
    for sides in ((0, 0, 0, 0), grow):
        com.running = Application(
            merged_copies_grow=sides, duplicates_keep_selection=keeps_selection
        )
        host._application._runner = None  # another Photoshop than before
        document, _ = layered(com.running)
        if not selected:
            document.select(None)
        before = Seen(document)
        expected.append(host.capture(host.describe(), CONTEXT, source))
        assert before.differences(Seen(document)) == []
    plain, grown = expected
    assert np.array_equal(grown.image.numpy()[..., :3], plain.image.numpy()[..., :3])
    assert np.array_equal(grown.selection.numpy(), plain.selection.numpy())


@pytest.mark.parametrize("selected", [True, False])
def test_a_copy_that_begins_who_knows_where_is_refused(
    com: Com, host: ComPhotoshop, *, selected: bool
) -> None:
    com.running = Application(merged_copies_grow=(0, 0, 0, 40), grown_copies_keep_channels=False)
    document = open_document(com.running)
    if not selected:
        document.select(None)
    before = Seen(document)
    with pytest.raises(DocumentRefused, match="artboard"):
        host.capture(host.describe(), CONTEXT)
    assert before.differences(Seen(document)) == []


@pytest.mark.parametrize("land", ["same", "centre"])
@pytest.mark.parametrize("selected", [True, False])
@pytest.mark.parametrize("sides", [Sides(3, 0, 0, 5), Sides(0, 7, 11, 0), Sides(1, 2, 3, 4)])
def test_the_canvas_grows_in_the_same_step(
    com: Com, host: ComPhotoshop, *, sides: Sides, selected: bool, land: str
) -> None:
    com.running = Application(duplicates_land=land)  # type: ignore[arg-type]
    document = open_document(com.running)
    if not selected:
        document.select(None)
    before, described = Seen(document), host.describe()
    width, height = SIZE[0] + sides.left + sides.right, SIZE[1] + sides.top + sides.bottom
    whole = Bounds(0, 0, width, height)
    is_new = np.full((height, width), 255, "uint8")
    old = slice(sides.top, sides.top + SIZE[1]), slice(sides.left, sides.left + SIZE[0])
    is_new[old] = 0
    painted = texture(width, height, "uint8", 3, 31)
    patch = LayerPatch(
        "p",
        Pixels.from_numpy(painted, ColorSpace.ICC, document.icc_profile),
        Pixels.from_numpy(is_new, ColorSpace.NON_COLOR),
        whole,
        document.icc_profile,
    )
    host.apply(described, [patch], TITLE, Arrangement(grow=sides))
    assert document.extent == (width, height)
    after = document.flatten()
    assert np.array_equal(after[old], before.picture)
    assert np.array_equal(after[is_new == 255][:, :3], painted[is_new == 255])
    assert document.history[-1].name == TITLE
    chosen = before.facts["selection"]
    if selected:
        assert np.array_equal(document.selected[old], chosen)
    else:
        assert document.selected is None
    document.activeHistoryState = document.history[-2]
    assert before.differences(Seen(document)) == []


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_picture_opens_as_a_document_of_its_own(
    photoshop: Application, host: ComPhotoshop, dtype: str, channels: int
) -> None:
    other = open_document(photoshop)
    before = Seen(other)
    samples = texture(37, 21, dtype, channels)
    space = ColorSpace.LINEAR_REC709 if dtype == "float32" else ColorSpace.SRGB
    host.open_picture(Pixels.from_numpy(samples, space), "photo x2", 240.5, b"")
    made = photoshop.front
    assert made is not None and made is not other
    assert photoshop.open_documents == [other, made]
    assert (made.name, made.extent, made.resolution) == ("photo x2", (37, 21), 240.5)
    assert made.profile_name == "sRGB IEC61966-2.1"
    assert made.alphas == []
    picture = made.flatten()
    expected = samples if channels == 4 else np.dstack([samples, picture[..., 3]])
    visible = expected[..., 3] > 0
    assert np.array_equal(picture[..., 3], expected[..., 3])
    assert np.array_equal(picture[visible], expected[visible])
    assert made.stack[0].isBackgroundLayer == (channels == 3)
    photoshop.front = other
    assert before.differences(Seen(other), but=("documents",)) == []


@pytest.mark.parametrize("documents", [0, 1])
def test_a_pattern_is_defined_and_nothing_else_happens(
    photoshop: Application, host: ComPhotoshop, documents: int
) -> None:
    before = [Seen(open_document(photoshop)) for _ in range(documents)]
    samples = texture(24, 16)
    host.define_pattern(Pixels.from_numpy(samples), 'Scumble: "moss"')
    [(name, pattern)] = photoshop.patterns.items()
    assert name == 'Scumble: "moss"'
    assert np.array_equal(pattern[..., :3], samples)
    assert len(photoshop.open_documents) == documents
    for seen in before:
        assert seen.differences(Seen(seen.document)) == []


def test_all_open_documents_the_front_one_first(photoshop: Application, host: ComPhotoshop) -> None:
    first = open_document(photoshop)
    second = Document(photoshop, texture(20, 20), name="other.psd")
    photoshop.front = first
    before = Seen(first), Seen(second)
    assert [it.name for it in host.documents()] == ["photo.psd", "other.psd"]
    assert [seen.differences(Seen(seen.document)) for seen in before] == [[], []]
