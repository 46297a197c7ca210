"""The real extension in a fresh Blender profile, a clean file for every test, and a real server."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PROFILE = tempfile.TemporaryDirectory(prefix="scumble-blender-")
# Before bpy is imported: nothing of the tester's own Blender or Scumble takes part.
os.environ["BLENDER_USER_RESOURCES"] = PROFILE.name
os.environ["SCUMBLE_DATA_DIR"] = str(Path(PROFILE.name) / "no-server")
for name in ("SCUMBLE_SERVER", "SCUMBLE_TOKEN"):
    os.environ.pop(name, None)

import bpy  # noqa: E402

from tests.blender_addon.bpy.run_suite import build_zip  # noqa: E402
from tests.real_server import RealServer, start_server  # noqa: E402

MODULE = "bl_ext.user_default.scumble"
SERVER_PYTHON = os.environ.get("SCUMBLE_TEST_SERVER_PYTHON", sys.executable)
MODEL = os.environ.get("SCUMBLE_TEST_MODEL", "tiny")
if "SCUMBLE_TEST_EXTENSION" not in os.environ:
    os.environ["SCUMBLE_TEST_EXTENSION"] = str(build_zip(SERVER_PYTHON))


def addon(name: str) -> ModuleType:
    """A module of the installed add-on, such as "host.controller"."""
    return sys.modules[f"{MODULE}.{name}"]


def _install() -> None:
    """Installs and enables the zip as an artist's Blender would."""
    done = bpy.ops.extensions.package_install_files(
        filepath=os.environ["SCUMBLE_TEST_EXTENSION"],
        repo="user_default",
        enable_on_install=True,
        overwrite=True,
    )
    assert done == {"FINISHED"}


_install()  # now: the tests import what the extension's wheels bring


@pytest.fixture
def scumble() -> Iterator[Any]:
    """The add-on's settings in Blender's default file (camera, cube, light); preferences as installed."""
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=False, load_ui=False)
    preferences = bpy.context.preferences.addons[MODULE].preferences
    for key in (
        "address", "token", "root_certificates", "data_dir", "server_command", "default_model", "free_on_render",
    ):  # fmt: skip
        preferences.property_unset(key)
    settings = bpy.context.scene.scumble
    settings.prompt = "weathered red bricks"
    settings.width, settings.height, settings.num_inference_steps = 72, 48, 2
    yield settings
    running = addon("host.controller").get()
    running.cancel()
    running.pump()


@pytest.fixture
def preferences(scumble: Any) -> Any:
    """The add-on's preferences."""
    return bpy.context.preferences.addons[MODULE].preferences


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """One server for all tests that do not harm it."""
    server = start_server(tmp_path_factory.mktemp("server"), python=SERVER_PYTHON, model=MODEL)
    yield server
    server.stop()


@pytest.fixture
def server(shared_server: RealServer, preferences: Any) -> RealServer:
    """The server, found by the add-on through its data folder."""
    preferences.data_dir = str(shared_server.data_dir)
    return shared_server


@pytest.fixture
def own_server(tmp_path: Path, preferences: Any) -> Iterator[RealServer]:
    """A server that the test may kill."""
    running = start_server(tmp_path / "own", python=SERVER_PYTHON, model=MODEL)
    preferences.data_dir = str(running.data_dir)
    yield running
    running.kill()


@pytest.fixture
def start_long(scumble: Any, preferences: Any) -> Callable[[], Any]:
    """Starts a generation that lasts, as Generate does with a window, and waits for its first steps."""

    def start() -> Any:
        scumble.num_inference_steps = 1000
        running = addon("host.controller").get()
        where = addon("host.materials").destination(bpy.context, scumble.place)
        running.generate(preferences.to_server(), scumble.to_request(), where)
        pump_until(running, lambda: running.status.fraction > 0)
        return running

    return start


def pump_until(running: Any, condition: Callable[[], bool], seconds: float = 200) -> None:
    """Turns the add-on's clock by hand: without a window Blender has no timers."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"nothing came: {running.status}"
        running.pump()
        time.sleep(0.01)
