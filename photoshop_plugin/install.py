"""The panel in the start menu of Windows."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

NAME = "Scumble for Photoshop"

_SCRIPT = """
$ErrorActionPreference = 'Stop'
$link = (New-Object -ComObject WScript.Shell).CreateShortcut($env:SCUMBLE_LINK)
$link.TargetPath = $env:SCUMBLE_PYTHON
$link.Arguments = '-m photoshop_plugin panel'
$link.WorkingDirectory = $env:SCUMBLE_FOLDER
$link.Description = 'The panel of Scumble, beside Photoshop'
$link.Save()
"""
"""Paths come by the environment, so that none of their characters is ever PowerShell."""

Run = Callable[[list[str], Mapping[str, str]], int]


class NotInstallable(Exception):
    """There is no start menu, or it cannot be written; the message is for people."""


def add(
    environment: Mapping[str, str] = os.environ,
    *,
    platform: str = sys.platform,
    python: Path | None = None,
    run: Run | None = None,
) -> Path:
    """Makes the start-menu entry of this user, which starts the panel without a console; returns it.

    Raises NotInstallable.
    """
    link = _link(environment, platform)
    python = python or Path(sys.executable)
    windowless = python.with_name("pythonw.exe")
    link.parent.mkdir(parents=True, exist_ok=True)
    paths = {
        "SCUMBLE_LINK": str(link),
        "SCUMBLE_PYTHON": str(windowless if windowless.exists() else python),
        "SCUMBLE_FOLDER": str(Path(__file__).resolve().parent.parent),
    }
    command = ["powershell", "-NoProfile", "-NonInteractive", "-Command", _SCRIPT]
    if (run or _run)(command, {**environment, **paths}) != 0 or not link.exists():
        raise NotInstallable(
            f"Windows did not make the start-menu entry {link}. Start the panel with: "
            f"{python} -m photoshop_plugin panel"
        )
    return link


def remove(environment: Mapping[str, str] = os.environ, *, platform: str = sys.platform) -> Path:
    """Takes the entry out again, if it is there. Raises NotInstallable."""
    link = _link(environment, platform)
    link.unlink(missing_ok=True)
    return link


def _link(environment: Mapping[str, str], platform: str) -> Path:
    if platform != "win32":
        raise NotInstallable(
            "Only Windows has a start menu, and the COM interface that the panel needs. PSD files can be painted on "
            "here with: python -m photoshop_plugin batch FILE"
        )
    folder = environment.get("APPDATA")
    if not folder:
        raise NotInstallable("The start menu was not found: APPDATA is not set.")
    return Path(folder, "Microsoft", "Windows", "Start Menu", "Programs", f"{NAME}.lnk")


def _run(command: list[str], environment: Mapping[str, str]) -> int:
    return subprocess.run(
        command, env=dict(environment), check=False, capture_output=True
    ).returncode
