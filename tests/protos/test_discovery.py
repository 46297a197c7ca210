"""Where a client looks for its server."""

from __future__ import annotations

import json
from pathlib import Path

import platformdirs.macos
import platformdirs.unix
import pytest

from scumble.client import NotRunning, default_data_dir
from scumble.client.discovery import locate


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "server.json").write_text(
        json.dumps({"address": "127.0.0.1:1", "pid": 1, "version": "0.1.0"})
    )
    (tmp_path / "token").write_text("from-file\n")
    return tmp_path


@pytest.mark.parametrize(
    ("environment", "address", "token"),
    [
        ({}, "127.0.0.1:1", "from-file"),
        ({"SCUMBLE_SERVER": "studio:2"}, "studio:2", "from-file"),
        ({"SCUMBLE_SERVER": "studio:2", "SCUMBLE_TOKEN": "from-env"}, "studio:2", "from-env"),
    ],
    ids=["data folder", "server named", "both named"],
)
def test_environment_outranks_the_folder(
    folder: Path, environment: dict[str, str], address: str, token: str
) -> None:
    location = locate(None, None, None, environment | {"SCUMBLE_DATA_DIR": str(folder)})
    assert (location.address, location.token) == (address, token)
    assert token not in repr(location)


def test_arguments_outrank_everything(folder: Path) -> None:
    environment = {"SCUMBLE_SERVER": "studio:2", "SCUMBLE_TOKEN": "from-env"}
    assert locate("here:3", "mine", None, environment).token == "mine"
    assert locate(None, None, folder, environment).address == "127.0.0.1:1"
    assert locate(None, None, folder, environment).token == "from-file"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"address"'])
def test_a_broken_server_file_is_no_server(folder: Path, text: str) -> None:
    (folder / "server.json").write_text(text)
    with pytest.raises(NotRunning, match="scumble serve"):
        locate(None, None, folder, {})


@pytest.mark.parametrize("xdg", ["", "/somewhere/else"])
def test_the_default_is_where_the_server_keeps_its_data(
    monkeypatch: pytest.MonkeyPatch, xdg: str
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", xdg)
    unix = platformdirs.unix.Unix("scumble", appauthor=False).user_data_dir
    assert str(default_data_dir({"XDG_DATA_HOME": xdg}, "linux")) == unix


def test_the_default_on_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    mac = platformdirs.macos.MacOS("scumble", appauthor=False).user_data_dir
    assert str(default_data_dir({}, "darwin")) == mac
    windows = default_data_dir({"LOCALAPPDATA": "C:/Users/a/AppData/Local"}, "win32")
    assert windows.parts[-3:] == ("AppData", "Local", "scumble")
