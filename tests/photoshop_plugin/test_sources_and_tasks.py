"""Tasks beyond filling a selection, and other sources than what is visible, with a scripted server."""

from __future__ import annotations

import numpy as np
import pytest

from photoshop_plugin.document import Sides, Source
from photoshop_plugin.errors import DocumentRefused
from photoshop_plugin.flow import generate
from photoshop_plugin.host.photoshop import ComPhotoshop
from photoshop_plugin.settings import Settings
from photoshop_plugin.task import Task
from photoshop_plugin.transparency import opaque, transparent_part
from scumble.client import (
    Adapter,
    AdapterKind,
    Bounds,
    CanvasIntent,
    ColorSpace,
    Inpaint,
    Outpaint,
    Pixels,
    Texture,
    Upscale,
)
from tests.fakes.photoshop import Application, Document
from tests.fakes.photoshop.layer import ArtLayer, LayerState
from tests.photoshop_plugin.scene import (
    CHANGED,
    SELECTED,
    SIZE,
    Seen,
    open_document,
    soft_selection,
    texture,
)
from tests.photoshop_plugin.scripted_server import ScriptedServer


def white(image: Pixels) -> Pixels:
    """A model that paints everything white."""
    return Pixels.from_numpy(
        np.full_like(image.numpy(), image.sample_type.full_scale),
        image.color_space,
        image.icc_profile,
    )


def with_hole(application: Application, dtype: str = "uint8") -> tuple[Document, np.ndarray]:
    """A transparent document with a soft-edged hole off its centre; the hole as a mask."""
    picture = texture(*SIZE, dtype, 4)
    hole = soft_selection(SIZE, (20, 90, 61, 44), dtype)
    picture[..., 3] = np.iinfo(dtype).max - hole
    return Document(application, picture), hole


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("selected", [False, True])
def test_what_is_transparent_is_filled(
    photoshop: Application, host: ComPhotoshop, *, selected: bool, dtype: str
) -> None:
    document, hole = with_hole(photoshop, dtype)
    if selected:
        left_half = np.zeros_like(hole)
        left_half[:, :50] = np.iinfo(dtype).max
        document.select(left_half)
        hole = np.where(left_half > 0, hole, 0).astype(dtype)
    before, server = Seen(document), ScriptedServer(white)
    [layer] = generate(host, server, Settings(prompt="sky", task=Task.EXTEND))
    [(_, box, _, options)] = server.asked
    assert options.intent is CanvasIntent.EXPAND
    assert box == Bounds(20, 90, 30 if selected else 61, 44)
    [request] = server.requests
    assert isinstance(request, Inpaint)
    assert isinstance(request.image, Pixels)
    assert request.image.channels == 3
    assert layer.bounds == request.plan.context
    after = document.flatten()
    full = np.iinfo(dtype).max
    assert (after[hole == full] == full).all()
    assert np.array_equal(after[hole == 0], before.picture[hole == 0])
    assert before.differences(Seen(document), but=CHANGED) == []
    assert document.history[-1].name == "Scumble: Extend the picture"


def test_a_picture_without_transparency_has_nothing_to_fill(
    photoshop: Application, host: ComPhotoshop
) -> None:
    document = open_document(photoshop)
    before, server = Seen(document), ScriptedServer()
    with pytest.raises(DocumentRefused, match="Nothing is transparent"):
        generate(host, server, Settings(prompt="sky", task=Task.EXTEND))
    assert (server.asked, server.requests) == ([], [])
    assert before.differences(Seen(document)) == []


@pytest.mark.parametrize("count", [1, 2])
def test_the_canvas_grows_by_the_px_asked_for(
    photoshop: Application, host: ComPhotoshop, count: int
) -> None:
    document = open_document(photoshop)
    before, server = Seen(document), ScriptedServer()
    sides = Sides(left=5, bottom=9)
    generate(host, server, Settings(prompt="sky", task=Task.EXTEND, sides=sides, count=count))
    [request] = server.requests
    assert isinstance(request, Outpaint)
    assert (request.left, request.top, request.right, request.bottom) == sides
    assert document.extent == (SIZE[0] + 5, SIZE[1] + 9)
    after = document.flatten()
    assert np.array_equal(after[: SIZE[1], 5:], before.picture)
    assert (after[SIZE[1] :] == 255).all() and (after[:, :5] == 255).all()
    assert document.history[-2] is before.facts["history state"]


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("selected", [False, True])
def test_enlarging_opens_a_new_document(
    photoshop: Application, host: ComPhotoshop, *, factor: int, selected: bool
) -> None:
    document = open_document(photoshop, icc=b"", resolution=240.5)
    if not selected:
        document.select(None)
    before, server = Seen(document), ScriptedServer()
    settings = Settings(prompt="", task=Task.UPSCALE, factor=factor, strength=0.3)
    [made] = generate(host, server, settings)
    [request] = server.requests
    assert isinstance(request, Upscale)
    assert (request.factor, request.strength) == (factor, 0.3)
    box = Bounds(*SELECTED) if selected else Bounds(0, 0, *SIZE)
    front = photoshop.front
    assert front is not None and front is not document
    assert (front.name, made.name) == (f"photo x{factor}", f"photo x{factor}")
    assert front.extent == (box.width * factor, box.height * factor)
    assert front.resolution == 240.5
    shown = before.picture[box.y : box.bottom, box.x : box.right, :3]
    assert np.array_equal(front.flatten()[::factor, ::factor, :3], shown)
    photoshop.front = document
    assert before.differences(Seen(document), but=("documents",)) == []


@pytest.mark.parametrize("documents", [0, 1])
def test_a_pattern_needs_no_document(
    photoshop: Application, host: ComPhotoshop, documents: int
) -> None:
    for _ in range(documents):
        open_document(photoshop)
    server = ScriptedServer()
    settings = Settings(prompt="moss", task=Task.PATTERN, pattern_side=48, seed=3, count=2)
    made = generate(host, server, settings)
    [request] = server.requests
    assert isinstance(request, Texture)
    assert (request.width, request.height, request.seamless) == (48, 48, "xy")
    assert list(photoshop.patterns) == [layer.name for layer in made]
    assert list(photoshop.patterns) == ["Scumble: moss (3)", "Scumble: moss (4)"]
    with pytest.raises(DocumentRefused, match="prompt is empty"):
        generate(host, server, Settings(prompt=" ", task=Task.PATTERN))


def test_the_active_layer_is_repainted_and_the_result_stands_above_it(
    photoshop: Application, host: ComPhotoshop
) -> None:
    document = Document(photoshop, texture(*SIZE))
    low, top = (
        ArtLayer(document, LayerState(name, texture(90, 80, "uint8", 4, seed), 100, 10))
        for name, seed in (("low", 3), ("top", 4))
    )
    document.stack[:0] = [top, low]
    document.active = low
    document.select(soft_selection(SIZE, SELECTED))
    before, server = Seen(document), ScriptedServer(white)
    adapter = Adapter(AdapterKind.LORA, "ink", 0.5)
    settings = Settings(
        prompt="moss", strength=0.5, source=Source.LAYER, style="ink", adapters=(adapter,)
    )
    generate(host, server, settings)
    [request] = server.requests
    assert isinstance(request, Inpaint)
    assert isinstance(request.image, Pixels)
    assert (request.style, request.adapters) == ("ink", (adapter,))
    assert request.image.channels == 4
    assert [layer.name for layer in document.stack[:1]] == ["top"]
    assert document.stack[1].name.startswith("Scumble: moss")
    assert document.stack[2] is low
    assert before.differences(Seen(document), but=CHANGED) == []


def test_an_empty_layer_is_refused_as_a_source(photoshop: Application, host: ComPhotoshop) -> None:
    document = open_document(photoshop)
    empty = LayerState("Empty", np.zeros((SIZE[1], SIZE[0], 4), "uint8"))
    document.stack.insert(0, ArtLayer(document, empty))
    document.active = document.stack[0]
    document.step("New Layer")
    before, server = Seen(document), ScriptedServer()
    with pytest.raises(DocumentRefused, match="layer is empty"):
        generate(host, server, Settings(prompt="moss", source=Source.LAYER))
    generate(host, server, Settings(prompt="moss", source=Source.BELOW))
    assert before.differences(Seen(document), but=CHANGED) == []


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_opaque_px_stay_and_transparent_ones_become_grey(dtype: str) -> None:
    samples = texture(9, 7, dtype, 4)
    full = 1 if dtype == "float32" else np.iinfo(dtype).max
    samples[:3, :, 3], samples[3:5, :, 3] = full, 0
    image = Pixels.from_numpy(samples, ColorSpace.SRGB)
    shown = opaque(image).numpy()
    assert np.array_equal(shown[:3], samples[:3, :, :3])
    assert np.allclose(shown[3:5] / full, 0.5, atol=0.003)
    mask = transparent_part(image, Pixels.from_numpy(np.full((7, 9), full, dtype)))
    assert np.array_equal(mask[:3], np.zeros((3, 9)))
    assert (mask[3:5] == full).all()
    assert np.allclose(mask / full, 1 - samples[..., 3] / full, atol=0.003)
