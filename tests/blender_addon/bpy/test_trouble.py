"""Everything that can go wrong says one sentence, and nothing is left behind."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import addon_utils
import bpy
import numpy as np
import pytest

import scumble.client
from tests.real_server import RealServer, start_server

from .conftest import MODEL, MODULE, SERVER_PYTHON, addon, pump_until
from .test_repaint import painted, pixels, textured_cube


def refusal() -> str:
    """Generates and returns the sentence it fails with."""
    images = set(bpy.data.images.keys())
    with pytest.raises(RuntimeError) as error:
        bpy.ops.scumble.generate_texture()
    assert set(bpy.data.images.keys()) == images
    assert not addon("host.controller").get().busy
    sentence = str(error.value).removeprefix("Error: ").strip()
    assert addon("host.controller").get().status.error == sentence, "the panel says it too"
    return sentence


def test_no_server(scumble: Any) -> None:
    assert "Start one with `scumble serve`" in refusal()
    with pytest.raises(RuntimeError, match="No Scumble server is running"):
        bpy.ops.scumble.check_server()


def test_wrong_token(server: RealServer, preferences: Any) -> None:
    preferences.token = "wrong"
    assert "token" in refusal()


@pytest.mark.parametrize(("theirs", "ours"), [("0.0.9", "older"), ("9.0.0", "newer")])
def test_a_server_of_another_age(
    server: RealServer, monkeypatch: pytest.MonkeyPatch, theirs: str, ours: str
) -> None:
    """The add-on's client believes to be of another version: the server is older or newer than it."""
    monkeypatch.setattr(
        scumble.client.client, "__version__", "9.0.0" if ours == "older" else "0.0.9"
    )
    sentence = refusal()
    assert "this client is" in sentence
    assert "Update the older of the two." in sentence
    assert addon("host.controller").get().status.error == sentence


def test_a_wheel_is_missing(
    scumble: Any, server: RealServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another extension took a shared package away."""
    for name in [n for n in sys.modules if n == "scumble" or n.startswith("scumble.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "scumble.client", None)
    sentence = refusal()
    assert sentence.startswith("A part of the Scumble extension is missing")
    assert "install it again and restart Blender" in sentence


def test_no_prompt(scumble: Any, server: RealServer) -> None:
    scumble.prompt = "  "
    assert refusal() == "Type a prompt first: what should the texture show?"


def test_too_large(scumble: Any, server: RealServer) -> None:
    scumble.width = scumble.height = 16384
    sentence = refusal()
    assert "16384" in sentence or "16,384" in sentence


@pytest.mark.parametrize("name", ["start_live", "paint_mask", "use_image", "project_view"])
def test_without_an_image_the_panel_says_why_nothing_happened(scumble: Any, name: str) -> None:
    with pytest.raises(RuntimeError) as error:
        getattr(bpy.ops.scumble, name)()
    assert "There is no image to work on" in str(error.value)
    assert "There is no image to work on" in addon("host.controller").get().status.error


def test_unknown_model(scumble: Any, server: RealServer) -> None:
    scumble.model = "no-such-model"
    assert "no-such-model" in refusal()


def test_another_computer_needs_online_access(preferences: Any, scumble: Any) -> None:
    preferences.address = "gpu.example.org:47110"
    assert not bpy.app.online_access
    assert "Allow Online Access" in refusal()


def test_missing_certificate(server: RealServer, preferences: Any) -> None:
    preferences.root_certificates = "/no/such/file.pem"
    assert "certificate file in Scumble's preferences" in refusal()


def test_check_says_who_answers(server: RealServer) -> None:
    assert bpy.ops.scumble.check_server() == {"FINISHED"}
    assert f"model {MODEL}" in addon("host.controller").get().status.server


def test_cancel_is_immediate_and_reaches_the_server(
    server: RealServer, start_long: Callable[[], Any]
) -> None:
    images = set(bpy.data.images.keys())
    running = start_long()
    assert not bpy.ops.scumble.generate_texture.poll()
    assert bpy.ops.scumble.cancel_generation() == {"FINISHED"}
    assert not running.busy
    assert running.status.note == "Cancelled"
    with scumble.client.connect(data_dir=server.data_dir) as client:
        job = client.jobs(limit=1)[0]
        with pytest.raises(scumble.client.Cancelled):
            client.job(job.job_id).result(timeout=200)
    assert set(bpy.data.images.keys()) == images


def test_opening_another_file_cancels(server: RealServer, start_long: Callable[[], Any]) -> None:
    running = start_long()
    bpy.ops.wm.read_homefile(use_factory_startup=True, load_ui=False)
    assert not running.busy
    assert running.status.note == "Cancelled: the file was closed."


def test_undo_while_it_paints_loses_nothing(
    scumble: Any, server: RealServer, preferences: Any
) -> None:
    """The object the texture was meant for is undone away and comes back: the result finds it, or stands alone."""
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.mesh.primitive_plane_add()
    bpy.ops.ed.undo_push(message="plane")
    running = addon("host.controller").get()
    where = addon("host.materials").destination(bpy.context, "MATERIAL")
    running.generate(preferences.to_server(), scumble.to_request(), where)
    bpy.ops.ed.undo()
    assert "Plane" not in bpy.data.objects
    pump_until(running, lambda: not running.busy)
    assert running.status.error == ""
    (name,) = running.last_images
    assert "its object is gone" in running.status.note
    assert bpy.data.images[name].packed_file is not None


@pytest.mark.parametrize("target", ["NEW", "SAME"])
def test_deleting_the_image_while_it_is_repainted(
    scumble: Any, server: RealServer, preferences: Any, target: str
) -> None:
    image = painted()
    textured_cube(image)
    running, landing = addon("host.controller").get(), addon("host.landing")
    repaint = addon("bridge.repaint").RepaintRequest(
        "moss", (addon("host.images").read_source(image),), seed=1
    )
    where = landing.IntoImage(image.session_uid, target == "SAME")
    running.generate(preferences.to_server(), repaint, where)
    bpy.data.images.remove(image)
    pump_until(running, lambda: not running.busy)
    assert running.status.error == ""
    assert "the one it belongs to is gone" in running.status.note
    assert bpy.data.images[running.last_images[0]].size[0] == 64


def test_a_killed_server_is_noticed_and_a_restarted_one_goes_on(
    scumble: Any, own_server: RealServer, preferences: Any
) -> None:
    scumble.num_inference_steps = 600
    running = addon("host.controller").get()
    where = addon("host.materials").destination(bpy.context, "MATERIAL")
    running.generate(preferences.to_server(), scumble.to_request(), where)
    pump_until(running, lambda: running.status.fraction > 0)
    own_server.kill()
    running.check(preferences.to_server())
    pump_until(running, lambda: running.status.stage == "Waiting for the server")
    assert running.busy
    port = int(own_server.address.rpartition(":")[2])
    again = start_server(own_server.data_dir, port=port, python=SERVER_PYTHON, model=MODEL)
    try:
        pump_until(running, lambda: not running.busy)
        assert running.status.error == ""
        assert running.last_images == ["weathered red bricks"]
    finally:
        again.stop()


def test_cancel_frees_the_artist_where_the_server_is_gone_for_good(
    own_server: RealServer, start_long: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = start_long()
    own_server.kill()
    with monkeypatch.context() as patch:
        patch.setattr("scumble.client.connection.LOST_SECONDS", 60)
        assert bpy.ops.scumble.cancel_generation() == {"FINISHED"}
        assert not running.busy
        looking = [it for it in threading.enumerate() if it.name.startswith("scumble-")]
        assert looking, "a thread of its own looks for the server"
    assert (running.status.note, running.status.error) == ("Cancelled", "")
    with pytest.raises(RuntimeError, match="No Scumble server"):
        bpy.ops.scumble.check_server()


def test_disabling_leaves_nothing(server: RealServer, start_long: Callable[[], Any]) -> None:
    start_long()
    clock = addon("host.main_thread")
    bpy.ops.preferences.addon_disable(module=MODULE)
    try:
        assert not bpy.app.timers.is_registered(clock._tick)
        assert clock._before_load not in bpy.app.handlers.load_pre
        assert not hasattr(bpy.types.Scene, "scumble")
        assert not hasattr(bpy.types, "SCUMBLE_PT_view3d")
        assert not [t for t in threading.enumerate() if t.name.startswith("scumble-")]
        with scumble.client.connect(data_dir=server.data_dir) as client:
            job = client.jobs(limit=1)[0]
            with pytest.raises(scumble.client.Cancelled):
                client.job(job.job_id).result(timeout=200)
    finally:
        bpy.ops.preferences.addon_enable(module=MODULE)
    assert addon_utils.check(MODULE) == (True, True)
    # Disabling forgets an add-on's preferences.
    bpy.context.preferences.addons[MODULE].preferences.data_dir = str(server.data_dir)
    assert bpy.ops.scumble.check_server() == {"FINISHED"}


def test_the_server_can_be_started_from_blender(
    scumble: Any, preferences: Any, tmp_path: Path
) -> None:
    preferences.server_command = str(tmp_path / "nothing")
    with pytest.raises(RuntimeError, match="There is no command"):
        bpy.ops.scumble.start_server()
    command = tmp_path / "scumble"
    command.write_text(
        f'#!/bin/sh\nexec "{SERVER_PYTHON}" -m core_server "$@" --port 0 --model {MODEL}\n'
    )
    command.chmod(0o755)
    preferences.server_command = str(command)
    preferences.data_dir = str(tmp_path / "data")
    assert bpy.ops.scumble.start_server() == {"FINISHED"}
    running = addon("host.controller").get()
    try:
        assert not bpy.ops.scumble.start_server.poll()
        deadline = time.monotonic() + 200
        while not (tmp_path / "data" / "server.json").is_file() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert bpy.ops.scumble.generate_texture() == {"FINISHED"}
        assert bpy.ops.scumble.stop_server() == {"FINISHED"}
        assert not bpy.ops.scumble.stop_server.poll()
    finally:
        running.server_process.stop()


@pytest.mark.parametrize("meanwhile", ["nothing", "cancel", "delete", "new file"])
def test_a_large_result_is_written_in_several_ticks_whatever_happens_between_them(
    scumble: Any, server: RealServer, preferences: Any, meanwhile: str
) -> None:
    image = painted(float_buffer=True)
    uid, before = image.session_uid, pixels(image)
    running, landing = addon("host.controller").get(), addon("host.landing")
    repaint = addon("bridge.repaint").RepaintRequest(
        "moss", (addon("host.images").read_source(image),), seed=1
    )
    running.generate(preferences.to_server(), repaint, landing.IntoImage(uid, into_itself=True))
    pump_until(running, lambda: running.laying)
    assert np.array_equal(pixels(image), before)
    if meanwhile == "cancel":
        running.cancel()
    elif meanwhile == "delete":
        bpy.data.images.remove(image)
    elif meanwhile == "new file":
        bpy.ops.wm.read_homefile(use_factory_startup=True, load_ui=False)
    pump_until(running, lambda: not running.busy)
    assert running.status.error == ""
    assert not running.laying
    if meanwhile == "new file":
        return
    made = bpy.data.images[running.last_images[0]]
    assert made.packed_file is not None
    assert not np.array_equal(pixels(made), before)
    assert (made.session_uid == uid) == (meanwhile != "delete")
    if meanwhile != "delete":
        assert bpy.ops.scumble.revert_image() == {"FINISHED"}
        assert np.array_equal(pixels(made), before)
