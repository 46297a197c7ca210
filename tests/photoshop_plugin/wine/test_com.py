"""True COM between Windows processes: the round trip, threads, a busy Photoshop, its death, names of all kinds."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from photoshop_plugin.acceptance import read_report
from photoshop_plugin.acceptance_checks import CHECKS
from photoshop_plugin.errors import ConnectionLost, NotRunning
from scumble.client import Pixels
from tests.fakes.photoshop import Application
from tests.fakes.photoshop.samples import on_canvas
from tests.photoshop_plugin.scene import (
    CHANGED,
    CONTEXT,
    ICC,
    NAME,
    SELECTED,
    SIZE,
    TITLE,
    Seen,
    assert_applied,
    open_document,
    patch_for,
)
from tests.photoshop_plugin.wine import windows
from tests.photoshop_plugin.wine.conftest import Computer
from tests.real_server import running_server

RPC_E_WRONG_THREAD = -2147417842
NAMES = 'Größe 北京 \N{CAT FACE} "1".psd'


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_round_trip(photoshop: Application, client: windows.Client, dtype: str) -> None:
    document = open_document(photoshop, dtype=dtype, resolution=240.5)
    document.name = NAMES
    before = Seen(document)
    found = client.call("describe")
    assert (found["name"], found["layer"], found["profile"]) == (
        NAMES,
        "Sketch",
        "Adobe RGB (1998)",
    )
    assert (found["extent"], found["selection"]) == (list(SIZE), list(SELECTED))

    answer = client.call("round_trip", bounds=list(CONTEXT), name=NAME, title=TITLE)
    assert windows.HOME in answer["folder"]
    assert answer["files"] == []
    part = before.picture[CONTEXT.y : CONTEXT.bottom, CONTEXT.x : CONTEXT.right, :3]
    patch = patch_for(document)
    inverted = np.iinfo(dtype).max - part
    pixels = Pixels.from_numpy(inverted, patch.pixels.color_space, ICC)
    assert_applied(before, [replace(patch, pixels=pixels)])


def test_photoshop_is_never_started(computer: Computer, client: windows.Client) -> None:
    computer.kill_photoshop()
    client.call("describe")  # may still have been connected
    computer.relay.starts = 0
    answer = client.call("describe")
    assert (answer["error"], answer["text"]) == ("NotRunning", str(NotRunning()))
    assert computer.relay.starts == 0


def test_many_threads_ask_at_once(photoshop: Application, client: windows.Client) -> None:
    open_document(photoshop)
    assert client.call("from_threads", count=8) == ["photo.psd"] * 8


@pytest.mark.parametrize(
    ("apartment", "foreign", "expected"),
    [
        (True, False, "27.5.0"),
        (False, False, "CannotConnect"),
        (True, True, f"COMError {RPC_E_WRONG_THREAD}"),
    ],
    ids=["own-object", "without-CoInitialize", "another-threads-object"],
)
def test_why_one_thread_owns_com(
    photoshop: Application,
    client: windows.Client,
    *,
    apartment: bool,
    foreign: bool,
    expected: str,
) -> None:
    open_document(photoshop)
    assert client.call("in_thread", apartment=apartment, foreign=foreign) == expected


def test_a_busy_photoshop_is_asked_again(
    computer: Computer, photoshop: Application, client: windows.Client
) -> None:
    open_document(photoshop)
    computer.relay.busy = 1.5
    told = client.call("describe")["busy"]
    began = time.monotonic()
    assert client.call("describe")["busy"] == told + 1
    assert time.monotonic() - began > 1


def test_patience_ends_with_a_sentence(
    computer: Computer, photoshop: Application, client: windows.Client
) -> None:
    document = open_document(photoshop)
    before = Seen(document)
    computer.relay.busy = 60.0
    client.call("describe")
    answer = client.call("round_trip", bounds=list(CONTEXT), name=NAME, title=TITLE)
    assert answer["error"] == "Busy"
    assert answer["text"].startswith("Photoshop was busy for ")
    assert before.differences(Seen(document)) == []
    computer.kill_photoshop()


def test_photoshop_dies_in_the_middle_and_comes_back(
    computer: Computer, photoshop: Application, client: windows.Client
) -> None:
    open_document(photoshop)
    assert client.call("describe")["name"] == "photo.psd"
    computer.relay.dies = True
    answer = client.call("describe")
    assert (answer["error"], answer["text"]) == ("ConnectionLost", str(ConnectionLost()))
    assert computer.process is not None
    computer.process.wait(30)
    assert client.call("describe")["error"] == "NotRunning"
    open_document(computer.photoshop()).name = "again.psd"
    assert client.call("describe")["name"] == "again.psd"


def test_photoshop_was_started_anew_between_two_calls(
    computer: Computer, photoshop: Application, client: windows.Client
) -> None:
    open_document(photoshop)
    assert client.call("describe")["name"] == "photo.psd"
    computer.kill_photoshop()
    open_document(computer.photoshop()).name = "second.psd"
    assert client.call("describe")["name"] == "second.psd"


def test_the_acceptance_script_passes_over_true_com(photoshop: Application, tmp_path: Path) -> None:
    artists = open_document(photoshop)
    before, report = Seen(artists), tmp_path / "prüfung.json"
    command = ["-X", "utf8", "-m", "photoshop_plugin.acceptance"]
    command += ["--report", windows.windows_path(report)]
    output = windows.start("python.exe", *command).communicate(timeout=110)[0].decode()
    assert read_report(report).passed, output
    assert [it.name for it in read_report(report).outcomes] == [check.name for check in CHECKS]
    assert photoshop.open_documents == [artists]
    assert before.differences(Seen(artists), but=("front",)) == []


def test_the_command_line_and_a_real_server(photoshop: Application, tmp_path: Path) -> None:
    document = open_document(photoshop, icc=b"", profile="")
    before = Seen(document)
    with running_server(tmp_path / "Daten für 北京") as server:
        command = ["-X", "utf8", "-m", "photoshop_plugin", "inpaint", "--seed", "7"]
        command += ["--data-dir", windows.windows_path(server.data_dir)]
        command += ["--num-inference-steps", "1", "--prompt", "moss \N{HERB} 苔"]
        output = windows.start("python.exe", *command).communicate(timeout=100)[0].decode()
    layer = document.stack[0]._state
    assert layer.name == "Scumble: moss \N{HERB} 苔 (7)", output
    assert f"{layer.name}: " in output
    assert before.differences(Seen(document), but=CHANGED) == []
    mask = on_canvas(layer.mask, layer.mask_x, layer.mask_y, *reversed(SIZE))
    after = document.flatten()
    assert (mask[document.selected == 255] == 255).all()
    assert np.array_equal(after[mask == 0], before.picture[mask == 0])
    assert not np.array_equal(after[mask > 0], before.picture[mask > 0])
