"""The flow: what is asked of whom, in which order, and what an early end leaves behind."""

from __future__ import annotations

import numpy as np
import pytest

from photoshop_plugin.errors import DocumentRefused, PhotoshopError
from photoshop_plugin.flow import Submitted, generate
from photoshop_plugin.host.photoshop import ComPhotoshop
from photoshop_plugin.placing import layer_name
from photoshop_plugin.settings import Settings
from photoshop_plugin.task import Task
from scumble.client import (
    Bounds,
    CanvasIntent,
    CanvasOptions,
    Event,
    Extent,
    Inpaint,
    OutOfMemory,
    Pixels,
    TextToImage,
)
from tests.fakes.photoshop import Application
from tests.fakes.photoshop.objects import Enum
from tests.photoshop_plugin.scene import CHANGED, SELECTED, SIZE, Seen, open_document
from tests.photoshop_plugin.scripted_server import EVENTS, ScriptedServer


def invert(image: Pixels) -> Pixels:
    """A model whose result is another picture everywhere."""
    array = image.numpy()
    return Pixels.from_numpy(
        np.iinfo(array.dtype).max - array, image.color_space, image.icc_profile
    )


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_the_selection_is_repainted_and_nothing_else(
    photoshop: Application, host: ComPhotoshop, dtype: str
) -> None:
    document = open_document(photoshop, dtype=dtype)
    before, server = Seen(document), ScriptedServer(invert)
    events: list[Submitted | Event] = []
    settings = Settings(
        prompt="a red barn",
        negative_prompt="snow",
        strength=0.8,
        model="tiny",
        num_inference_steps=4,
        guidance_scale=3.5,
        scheduler="euler",
        seed=40,
        count=2,
        options=CanvasOptions(exact_selection=True),
    )
    placed = generate(host, server, settings, events.append)

    asked = CanvasOptions(exact_selection=True, intent=CanvasIntent.REFINE)
    assert server.asked == [(Extent(*SIZE), Bounds(*SELECTED), 0.8, asked)]
    [request] = server.requests
    for name in ("prompt", "negative_prompt", "strength", "model", "num_inference_steps"):
        assert getattr(request, name) == getattr(settings, name)
    for name in ("guidance_scale", "scheduler", "seed", "count"):
        assert getattr(request, name) == getattr(settings, name)
    assert [layer.name for layer in placed] == [
        "Scumble: a red barn (40)",
        "Scumble: a red barn (41)",
    ]
    assert events == [Submitted("job-1", request.plan.context, request.plan), *EVENTS]
    assert server.jobs[0].cancelled == 0

    after, selected = document.flatten(), before.facts["selection"]
    full = np.iinfo(dtype).max
    assert np.array_equal(after[selected == 0], before.picture[selected == 0])
    inside = selected == full
    assert inside.any()
    assert np.array_equal(after[inside][:, :3], full - before.picture[inside][:, :3])
    assert before.differences(Seen(document), but=CHANGED) == []


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), OutOfMemory("no"), ValueError("bug")],
    ids=lambda e: type(e).__name__,
)
def test_an_early_end_cancels_the_job_and_leaves_the_document(
    photoshop: Application, host: ComPhotoshop, error: BaseException
) -> None:
    document = open_document(photoshop)
    before, server = Seen(document), ScriptedServer(fails=error)
    with pytest.raises(type(error)):
        generate(host, server, Settings(prompt="x"))
    assert server.jobs[0].cancelled == 1
    assert before.differences(Seen(document)) == []


def test_nothing_is_asked_of_the_server_for_a_document_that_cannot_be_painted_on(
    photoshop: Application, host: ComPhotoshop
) -> None:
    document = open_document(photoshop)
    document.mode = Enum("DocumentMode.INDEXEDCOLOR")
    server = ScriptedServer()
    with pytest.raises(DocumentRefused, match="INDEXED"):
        generate(host, server, Settings(prompt="x"))
    assert (server.asked, server.requests) == ([], [])


def test_a_result_without_its_document_says_where_it_is(
    photoshop: Application, host: ComPhotoshop
) -> None:
    document = open_document(photoshop)

    def close_it(event: Submitted | Event) -> None:
        if document in photoshop.open_documents:
            document.close(Enum("SaveOptions.DONOTSAVECHANGES"))

    with pytest.raises(PhotoshopError, match="closed in the meantime") as caught:
        generate(host, ScriptedServer(), Settings(prompt="x"), close_it)
    assert caught.value.__notes__ == ["The pictures are kept on the server as job job-1."]


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("a red barn", "Scumble: a red barn (7)"),
        ("  two\nlines\t", "Scumble: two lines (7)"),
        ("", "Scumble (7)"),
        ("é" * 80, f"Scumble: {'é' * 59}… (7)"),
    ],
    ids=["plain", "lines", "empty", "long"],
)
def test_layer_names(prompt: str, name: str) -> None:
    assert layer_name(prompt, 7) == name


def test_what_is_selected_is_removed_without_a_prompt(
    photoshop: Application, host: ComPhotoshop
) -> None:
    document = open_document(photoshop)
    server = ScriptedServer(invert)
    generate(host, server, Settings(prompt=" "))
    assert server.asked[0][3].intent is CanvasIntent.REMOVE_OBJECT
    assert server.requests[0].strength == Inpaint.REMOVE_STRENGTH, "so that the fill counts"
    assert document.history[-1].name == "Scumble: Remove what is selected"


def test_without_a_selection_the_whole_picture_is_repainted(
    photoshop: Application, host: ComPhotoshop
) -> None:
    document = open_document(photoshop)
    document.select(None)
    before, server = Seen(document), ScriptedServer(invert)
    [layer] = generate(host, server, Settings(prompt="ink", strength=0.5))
    assert server.asked[0][1] == Bounds(0, 0, *SIZE)
    assert layer.bounds == Bounds(0, 0, *SIZE)
    assert np.array_equal(document.flatten()[..., :3], 255 - before.picture[..., :3])
    assert document.selected is None
    assert before.differences(Seen(document), but=CHANGED) == []


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("selected", [True, False], ids=["within-the-selection", "everywhere"])
def test_a_new_layer_from_the_prompt(
    photoshop: Application, host: ComPhotoshop, *, dtype: str, selected: bool
) -> None:
    document = open_document(photoshop, dtype=dtype)
    if not selected:
        document.select(None)
    before, server = Seen(document), ScriptedServer()
    [layer] = generate(host, server, Settings(prompt="ink", task=Task.LAYER, seed=3))
    box = Bounds(*SELECTED) if selected else Bounds(0, 0, *SIZE)
    [request] = server.requests
    assert isinstance(request, TextToImage)
    assert (request.width, request.height, layer.bounds) == (*box.extent, box)
    state = document.stack[0]._state
    assert state.pixels.dtype == dtype
    painted = server.jobs[0].patches[0].pixels.numpy().astype(int)
    assert np.array_equal(state.pixels[..., :3], painted * (257 if dtype == "uint16" else 1))
    assert (state.mask is None) == (not selected)
    after = document.flatten()
    if selected:
        outside = before.facts["selection"] == 0
        assert np.array_equal(after[outside], before.picture[outside])
    assert photoshop.conversions == [("sRGB IEC61966-2.1", "Adobe RGB (1998)")]
    assert document.history[-1].name == "Scumble: New layer from the prompt"
