"""The flow: what is asked of whom, in which order, and what an early end leaves behind."""

from __future__ import annotations

import numpy as np
import pytest

from photoshop_plugin.errors import DocumentRefused, PhotoshopError
from photoshop_plugin.generation import Settings, layer_name
from photoshop_plugin.host.photoshop import ComPhotoshop
from photoshop_plugin.inpaint import Submitted, inpaint
from scumble.client import Bounds, CanvasOptions, Event, Extent, OutOfMemory, Pixels
from tests.fakes.photoshop import Application
from tests.fakes.photoshop.objects import Enum
from tests.photoshop_plugin.scene import SELECTED, SIZE, Seen, open_document
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
    placed = inpaint(host, server, settings, events.append)

    assert server.asked == [(Extent(*SIZE), Bounds(*SELECTED), 0.8, settings.options)]
    [request] = server.requests
    for name in ("prompt", "negative_prompt", "strength", "model", "num_inference_steps"):
        assert getattr(request, name) == getattr(settings, name)
    for name in ("guidance_scale", "scheduler", "seed", "count"):
        assert getattr(request, name) == getattr(settings, name)
    assert [layer.name for layer in placed] == [
        "Scumble: a red barn (40)",
        "Scumble: a red barn (41)",
    ]
    assert events == [Submitted("job-1", request.plan), *EVENTS]
    assert server.jobs[0].cancelled == 0

    after, selected = document.flatten(), before.facts["selection"]
    full = np.iinfo(dtype).max
    assert np.array_equal(after[selected == 0], before.picture[selected == 0])
    inside = selected == full
    assert inside.any()
    assert np.array_equal(after[inside][:, :3], full - before.picture[inside][:, :3])
    assert before.differences(Seen(document), but=("layers", "history state", "saved")) == []


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
        inpaint(host, server, Settings(prompt="x"))
    assert server.jobs[0].cancelled == 1
    assert before.differences(Seen(document)) == []


def test_nothing_is_asked_of_the_server_for_a_document_that_cannot_be_painted_on(
    photoshop: Application, host: ComPhotoshop
) -> None:
    document = open_document(photoshop)
    document.mode = Enum("DocumentMode.CMYK")
    server = ScriptedServer()
    with pytest.raises(DocumentRefused, match="CMYK"):
        inpaint(host, server, Settings(prompt="x"))
    assert (server.asked, server.requests) == ([], [])


def test_a_result_without_its_document_says_where_it_is(
    photoshop: Application, host: ComPhotoshop
) -> None:
    document = open_document(photoshop)

    def close_it(event: Submitted | Event) -> None:
        if document in photoshop.open_documents:
            document.close(Enum("SaveOptions.DONOTSAVECHANGES"))

    with pytest.raises(PhotoshopError, match="closed in the meantime") as caught:
        inpaint(host, ScriptedServer(), Settings(prompt="x"), close_it)
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
