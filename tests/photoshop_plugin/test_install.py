"""The start-menu entry, with a stand-in for PowerShell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from photoshop_plugin import install
from photoshop_plugin.cli import main


@pytest.mark.parametrize("windowless", [True, False])
def test_the_entry_starts_the_panel(tmp_path: Path, *, windowless: bool) -> None:
    folder = tmp_path / "O'Brien; $x"
    python = tmp_path / "python.exe"
    if windowless:
        (tmp_path / "pythonw.exe").touch()
    asked: list[Mapping[str, str]] = []

    def powershell(command: list[str], environment: Mapping[str, str]) -> int:
        assert command[0] == "powershell"
        assert "O'Brien" not in command[-1], "paths are data"
        assert "-m photoshop_plugin panel" in command[-1]
        asked.append(environment)
        Path(environment["SCUMBLE_LINK"]).touch()
        return 0

    environment = {"APPDATA": str(folder)}
    link = install.add(environment, platform="win32", python=python, run=powershell)
    assert link == folder / "Microsoft/Windows/Start Menu/Programs/Scumble for Photoshop.lnk"
    wanted = "pythonw.exe" if windowless else "python.exe"
    assert asked[0]["SCUMBLE_PYTHON"] == str(tmp_path / wanted)
    assert Path(asked[0]["SCUMBLE_FOLDER"], "photoshop_plugin").is_dir()
    assert install.remove(environment, platform="win32") == link
    assert not link.exists()


def test_what_goes_wrong_is_said(tmp_path: Path) -> None:
    with pytest.raises(install.NotInstallable, match="did not make"):
        install.add({"APPDATA": str(tmp_path)}, platform="win32", run=lambda *_: 1)
    with pytest.raises(install.NotInstallable, match="APPDATA"):
        install.add({}, platform="win32")


def test_elsewhere_it_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        install.add, "__kwdefaults__", {**install.add.__kwdefaults__, "platform": "darwin"}
    )
    assert main(["install"]) == 1
    assert "Only Windows" in capsys.readouterr().err
