"""The command line, the real Scumble server with its tiny model, and the in-memory Photoshop: one whole inpaint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from photoshop_plugin.cli import main
from scumble.client import Bounds, Extent, connect
from tests.fakes.photoshop import Application
from tests.fakes.photoshop.com import Com
from tests.fakes.photoshop.psd import save_psd
from tests.fakes.photoshop.samples import bounding_box, on_canvas
from tests.photoshop_plugin.conftest import open_host
from tests.photoshop_plugin.profiles import adobe_rgb_like
from tests.photoshop_plugin.scene import (
    CHANGED,
    FILL_TITLE,
    LATER,
    SIZE,
    Seen,
    open_document,
    soft_selection,
)
from tests.real_server import RealServer, running_server

LARGE = (701, 613)
OFF_CENTRE = (441, 90, 101, 88)
"""Far from the middle and from every border, so that the context is a rectangle inside the document."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    with running_server(tmp_path_factory.mktemp("data")) as running:
        yield running


def run(com: Com, server: RealServer, *options: str) -> int:
    arguments = [
        "inpaint",
        "--data-dir",
        str(server.data_dir),
        "--num-inference-steps",
        "2",
        *options,
    ]
    return main(arguments, open_host=open_host(com))


@pytest.mark.parametrize(
    "profile", ["sRGB IEC61966-2.1", "Adobe RGB (1998)"], ids=["srgb", "adobe-rgb"]
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_soft_off_centre_selection_at_300_ppi(
    com: Com,
    server: RealServer,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    *,
    dtype: str,
    profile: str,
) -> None:
    com.running = Application(duplicates_land="centre")
    document = open_document(
        com.running,
        size=LARGE,
        selected=OFF_CENTRE,
        dtype=dtype,
        resolution=300.0,
        icc=adobe_rgb_like(),
        profile=profile,
    )
    selected = document.selected
    before = Seen(document)
    assert run(com, server, "--prompt", 'moss, "wet"\n\N{HERB}', "--seed", "7") == 0

    # One history step, one masked layer on top, all else as the artist left it.
    assert [state.name for state in document.history] == ["Open", "Lasso", FILL_TITLE]
    assert before.differences(Seen(document), but=CHANGED) == []
    assert len(document.stack) == 3
    state = document.stack[0]._state
    assert (state.name, state.visible) == ('Scumble: moss, "wet" \N{HERB} (7)', True)

    # The layer lies exactly where the plan said.
    output = capsys.readouterr()
    height, width = state.pixels.shape[:2]
    with connect(data_dir=server.data_dir) as client:
        plan = client.plan(Extent(*LARGE), Bounds(*OFF_CENTRE))
    assert Bounds(state.x, state.y, width, height) == plan.mask
    assert plan.context.extent < Extent(*LARGE)
    place = f"{width} x {height} px at {state.x}, {state.y}"
    assert f"Repainting within {place} (job " in output.err
    assert place in output.out
    assert (state.pixels[..., 3] == np.iinfo(dtype).max).all()
    assert len(np.unique(state.pixels[..., :3])) > 16

    # Fully opaque where fully selected; not one sample changed where the mask is 0.
    mask = on_canvas(state.mask, state.mask_x, state.mask_y, LARGE[1], LARGE[0])
    full = np.iinfo(dtype).max
    assert (mask[selected == full] == full).all()
    assert (mask == 0).any()
    after = document.flatten()
    assert np.array_equal(after[mask == 0], before.picture[mask == 0])
    assert not np.array_equal(after[selected == full], before.picture[selected == full])

    # A program that is not ours finds the same layer and mask in the PSD.
    if dtype == "uint8":
        psd = save_psd(document, tmp_path / "after.psd")
        assert psd.bbox == (state.x, state.y, state.x + width, state.y + height)
        assert np.array_equal(psd.pixels, state.pixels[..., :3])
        assert np.array_equal(on_canvas(psd.mask, psd.mask_x, psd.mask_y, LARGE[1], LARGE[0]), mask)


def test_the_exact_selection_becomes_the_mask(com: Com, server: RealServer) -> None:
    com.running = Application(duplicates_keep_selection=True)
    document = open_document(com.running, size=LARGE, selected=OFF_CENTRE, icc=b"")
    selected = document.selected
    assert run(com, server, "--prompt", "moss", "--exact-selection", "--count", "2") == 0
    assert document.stack[0].name == "Scumble: moss"
    state = document.stack[0].stack[0]._state
    mask = on_canvas(state.mask, state.mask_x, state.mask_y, LARGE[1], LARGE[0])
    assert np.array_equal(mask, selected)
    assert bounding_box(mask) == bounding_box(selected)
    assert [layer.visible for layer in document.stack] == [True, False, True]
    assert [layer.visible for layer in document.stack[0].stack] == [True, False]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--strength", "0"), "strength"),
        (("--scheduler", "no-such"), "no-such"),
        (("--model", "no-such"), "no-such"),
        (("--count", "0"), "from 1 to"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_wrong_setting_is_one_sentence_and_changes_nothing(
    com: Com,
    server: RealServer,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    words: str,
) -> None:
    com.running = Application()
    document = open_document(com.running, icc=adobe_rgb_like())
    document.select(soft_selection(SIZE, LATER))
    before = Seen(document)
    assert run(com, server, "--prompt", "moss", *options) == 1
    assert words in capsys.readouterr().err
    assert before.differences(Seen(document)) == []


@pytest.mark.parametrize("command", ["inpaint", "remove", "generate"])
def test_a_task_that_needs_more_than_there_is(
    com: Com, server: RealServer, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    com.running = Application()
    document = open_document(com.running)
    document.select(None)
    before = Seen(document)
    arguments = [command, "--data-dir", str(server.data_dir)]
    assert main(arguments, open_host=open_host(com)) == 1
    assert "selected" in capsys.readouterr().err
    assert before.differences(Seen(document)) == []


def test_a_new_layer_and_a_restyled_picture(com: Com, server: RealServer) -> None:
    com.running = Application()
    document = open_document(com.running, icc=b"")
    common = ["--data-dir", str(server.data_dir), "--num-inference-steps", "4", "--prompt", "moss"]
    assert main(["layer", *common, "--seed", "1"], open_host=open_host(com)) == 0
    document.select(None)
    restyle = ["restyle", *common, "--strength", "0.5"]
    assert main(restyle, open_host=open_host(com)) == 0
    steps = [state.name for state in document.history]
    assert steps[-3::2] == ["Scumble: New layer from the prompt", "Scumble: Repaint what is there"]
    assert document.stack[0]._state.pixels.shape[:2] == (SIZE[1], SIZE[0])


def test_extend_upscale_and_pattern(
    com: Com, server: RealServer, capsys: pytest.CaptureFixture[str]
) -> None:
    com.running = Application()
    document = open_document(com.running, size=(96, 64), selected=(20, 12, 30, 20), icc=b"")
    before = Seen(document)
    common = ["--data-dir", str(server.data_dir), "--num-inference-steps", "2", "--prompt", "moss"]
    extend = ["extend", *common, "--left", "8", "--bottom", "24", "--seed", "1"]
    assert main(extend, open_host=open_host(com)) == 0
    assert document.extent == (104, 88)
    after = document.flatten()
    assert np.array_equal(after[:64, 8:], before.picture)
    assert len(np.unique(after[64:, :, :3])) > 4
    assert document.history[-1].name == "Scumble: Extend the picture"

    document.select(None)
    assert main(["upscale", *common], open_host=open_host(com)) == 0
    larger = com.running.front
    assert larger is not None and larger.name == "photo x2"
    assert larger.extent == (208, 176)
    assert main(["pattern", *common, "--size", "64"], open_host=open_host(com)) == 0
    [pattern] = com.running.patterns.values()
    assert pattern.shape[:2] == (64, 64)
    assert "photo x2: 208 x 176 px\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("mode", "channels", "dtype"), [("CMYK", 4, "uint8"), ("RGB", 3, "float32")]
)
def test_documents_that_are_read_through_srgb(
    com: Com, server: RealServer, mode: str, channels: int, dtype: str
) -> None:
    com.running = Application()
    document = open_document(
        com.running, icc=b"", profile="", mode=mode, channels=channels, dtype=dtype
    )
    if dtype == "float32":  # light beyond white
        state = document.stack[-1]._state
        pixels = state.pixels * np.array([4, 4, 4, 1], dtype)
        document.stack[-1]._state = replace(state, pixels=pixels)
        document.step("Exposure")
    before = Seen(document)
    arguments = ["inpaint", "--data-dir", str(server.data_dir), "--num-inference-steps", "2"]
    assert main([*arguments, "--prompt", "moss"], open_host=open_host(com)) == 0
    state = document.stack[0]._state
    assert state.pixels.shape[2] == channels + 1
    assert state.pixels.dtype == dtype
    after, mask = (
        document.flatten(),
        on_canvas(state.mask, state.mask_x, state.mask_y, SIZE[1], SIZE[0]),
    )
    assert np.array_equal(after[mask == 0], before.picture[mask == 0])
    assert not np.array_equal(after[mask > 0], before.picture[mask > 0])


def test_without_a_server_it_says_how_to_start_one(
    com: Com, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    com.running = Application()
    open_document(com.running)
    arguments = ["inpaint", "--prompt", "moss", "--data-dir", str(tmp_path)]
    assert main(arguments, open_host=open_host(com)) == 1
    assert "scumble serve" in capsys.readouterr().err
