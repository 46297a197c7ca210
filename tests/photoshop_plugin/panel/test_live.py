"""Live painting in the panel: the region that was picked, what changed and nothing else, the newest picture a layer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

import numpy as np
import pytest

from photoshop_plugin.live import canvas, resized
from photoshop_plugin.panel.events import Applied, LiveEnded, LiveShown, Stopped
from photoshop_plugin.settings import Settings
from scumble.client import ColorSpace, Extent, NotRunning, Pixels
from tests.fakes.photoshop import Application, Document
from tests.fakes.photoshop.objects import Enum
from tests.photoshop_plugin.panel.conftest import Desk
from tests.photoshop_plugin.scene import (
    CHANGED,
    LATER,
    SELECTED,
    Seen,
    open_document,
    soft_selection,
    texture,
)
from tests.photoshop_plugin.scripted_server import ScriptedLive

SETTINGS = Settings(prompt="moss", strength=0.6, seed=40, style="ink")
RETRY_LATER = -2147417846
T = TypeVar("T")


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def session(desk: Desk) -> ScriptedLive:
    until(lambda: desk.server.live_sessions)
    return desk.server.live_sessions[-1]


def in_photoshop(desk: Desk, change: Callable[[], T]) -> T:
    """Between two of our programs: Photoshop does one thing after the other."""
    return desk.controller._host_thread.submit(change).result()


def looks(photoshop: Application, count: int = 3) -> None:
    """Until the panel has looked so many times more."""
    before = len(photoshop.scripts)
    until(lambda: len(photoshop.scripts) >= before + count)


def paint(desk: Desk, document: Document, seed: int) -> None:
    """A stroke: other px, and the name that all strokes have."""

    def stroke() -> None:
        layer = document.stack[-1]
        pixels = layer._state.pixels.copy()
        pixels[30:60, 155:180, :3] = texture(25, 30, pixels.dtype, 3, seed)
        layer._state = replace(layer._state, pixels=pixels)
        document.step("Brush Tool")

    in_photoshop(desk, stroke)


def resize(document: Document) -> None:
    document.selected, document.extent = None, (200, 167)
    document.step("Canvas Size")


@pytest.fixture
def document(photoshop: Application) -> Iterator[Document]:
    yield open_document(photoshop, dtype="uint16")


def test_what_is_drawn_is_painted_and_the_newest_picture_becomes_a_layer(
    photoshop: Application, document: Document, desk: Desk
) -> None:
    before = Seen(document)
    desk.controller.start_live(SETTINGS)
    shown = desk.wait_for(LiveShown)
    assert shown.picture is not None
    made = session(desk)
    assert (made.settings.prompt, made.settings.strength, made.settings.seed) == ("moss", 0.6, 40)
    assert (made.settings.style, made.settings.extent) == ("ink", SELECTED[2:])
    x, y, width, height = SELECTED
    part = document.flatten()[y : y + height, x : x + width, :3]
    assert np.array_equal(made.canvases[0].numpy(), part)
    now = in_photoshop(desk, lambda: Seen(document))
    assert before.differences(now) == [], "only the panel shows it"
    chosen = soft_selection((233, 167), SELECTED, "uint16")[y : y + height, x : x + width, None]
    assert shown.seen is not None
    faint = np.rint(part + (65535.0 - 2.0 * part) * (chosen / 65535))
    assert np.abs(shown.seen.numpy() - faint).max() <= 1

    looks(photoshop)
    assert len(made.canvases) == 1, "nothing changed, nothing is read or sent"
    paint(desk, document, seed=1)
    until(lambda: len(made.canvases) == 2)
    # What is selected now is the artist's business: the region is that of the beginning.
    later = soft_selection((233, 167), LATER, "uint16")
    in_photoshop(desk, lambda: document.select(later))
    part = in_photoshop(desk, document.flatten)[y : y + height, x : x + width, :3]
    desk.wait_for(LiveShown, lambda it: bool(it.picture and it.picture.frame_number >= 2))
    assert np.array_equal(made.canvases[-1].numpy(), part)

    latest = in_photoshop(desk, lambda: Seen(document))
    desk.controller.apply_live()
    assert desk.wait_for(Applied).layers[0].name == "Scumble: moss (40)"
    assert not desk.controller.is_live
    layer = document.stack[0]._state
    assert (layer.x, layer.y) == (x, y)
    assert np.array_equal(layer.pixels[..., :3], 65535 - part)
    assert np.array_equal(layer.mask, chosen[..., 0])
    assert latest.differences(Seen(document), but=CHANGED) == []
    until(lambda: made.closed)


def test_settings_follow_and_stopping_is_at_once(document: Document, desk: Desk) -> None:
    desk.controller.start_live(SETTINGS)
    desk.wait_for(LiveShown)
    made = session(desk)
    desk.controller.change_live(replace(SETTINGS, prompt="rust", strength=0.3))
    until(lambda: made.settings.prompt == "rust")
    assert (made.settings.strength, made.settings.seed) == (0.3, 40)
    free = threading.Event()
    held = desk.controller._host_thread.submit(lambda: free.wait(60))
    desk.controller.stop_live()
    assert not desk.controller.is_live
    assert not held.done(), "it did not wait for Photoshop"
    free.set()
    until(lambda: made.closed)
    paint(desk, document, seed=2)
    time.sleep(0.5)
    assert len(made.canvases) == 1


def test_a_drawn_seed_stays(document: Document, desk: Desk) -> None:
    desk.controller.start_live(replace(SETTINGS, seed=None))
    desk.wait_for(LiveShown)
    made = session(desk)
    seed = made.settings.seed
    assert seed is not None
    desk.controller.change_live(replace(SETTINGS, seed=None, prompt="rust"))
    until(lambda: made.settings.prompt == "rust")
    assert made.settings.seed == seed


def test_another_document_in_front_is_left_alone(
    photoshop: Application, document: Document, desk: Desk
) -> None:
    desk.controller.start_live(SETTINGS)
    desk.wait_for(LiveShown)
    made = session(desk)
    other = Document(photoshop, texture(50, 40), name="other.psd")
    in_photoshop(desk, lambda: setattr(photoshop, "activeDocument", other))
    paint(desk, document, seed=3)
    looks(photoshop)
    assert len(made.canvases) == 1
    assert photoshop.front is other
    in_photoshop(desk, lambda: setattr(photoshop, "activeDocument", document))
    until(lambda: len(made.canvases) == 2)


def test_a_busy_photoshop_is_waited_for(document: Document, desk: Desk) -> None:
    desk.controller.start_live(SETTINGS)
    desk.wait_for(LiveShown)
    made = session(desk)
    desk.com.failures = [RETRY_LATER] * 10_000
    until(lambda: len(desk.com.failures) < 9_990)  # several looks, each of which asks a few times
    assert desk.controller.is_live
    paint(desk, document, seed=4)
    desk.com.failures = []
    until(lambda: len(made.canvases) == 2)


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("closed", "was closed"),
        ("resized", "was resized"),
        ("server", "No server"),
        ("session", "worker died"),
        ("prompt", "prompt is empty"),
        ("mode", "MULTICHANNEL"),
    ],
)
def test_every_end_has_its_sentence(
    document: Document, desk: Desk, trouble: str, words: str
) -> None:
    settings = SETTINGS
    if trouble == "server":
        desk.server.live_fails = NotRunning("No server runs.")
    if trouble == "prompt":
        settings = replace(SETTINGS, prompt=" ")
    if trouble == "mode":
        document.mode = Enum("DocumentMode.MULTICHANNEL")
    desk.controller.start_live(settings)
    if trouble in ("closed", "resized", "session"):
        desk.wait_for(LiveShown)
    if trouble == "closed":
        in_photoshop(desk, lambda: document.close(Enum("SaveOptions.DONOTSAVECHANGES")))
    if trouble == "resized":
        in_photoshop(desk, lambda: resize(document))
    if trouble == "session":
        session(desk).fails = NotRunning("The worker died twice.")
        words = "worker died"
    assert words in desk.wait_for(LiveEnded).sentence
    assert not desk.controller.is_live


def test_without_a_picture_nothing_is_laid_back(desk: Desk) -> None:
    desk.controller.start_live(SETTINGS)
    assert "not running" in desk.wait_for(LiveEnded).sentence
    desk.controller.apply_live()
    assert "no live picture yet" in desk.wait_for(Stopped).sentence


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_large_pictures_are_made_small_and_small_ones_large(dtype: str) -> None:
    samples = texture(1300, 700, dtype, 3)
    image = Pixels.from_numpy(samples, ColorSpace.SRGB)
    small = canvas(image)
    assert small.extent == (650, 350)
    block = samples[10:12, 20:22].astype(np.float64).mean(axis=(0, 1))
    assert np.abs(small.numpy()[5, 10] - block).max() <= 0.5
    flat = Pixels.from_numpy(np.full((7, 9, 3), samples[0, 0], samples.dtype), ColorSpace.SRGB)
    large = resized(flat, Extent(40, 31))
    assert (large.extent, large.sample_type) == ((40, 31), flat.sample_type)
    assert np.allclose(large.numpy(), samples[0, 0], atol=1e-5)
    strip = Pixels.from_numpy(texture(3000, 2), ColorSpace.SRGB)
    assert canvas(strip).extent == (3000, 2)
