"""Runs the add-on's tests inside a real Blender (the `bpy` module), in an environment of their own.

    python tests/blender_addon/bpy/run_suite.py [--bpy VERSION] [--python PY] [pytest arguments ...]

Builds the extension's zip, installs exactly that into a fresh Blender profile, and starts real servers with the
interpreter that runs this file (or --server-python). Standard library only. The exit status is pytest's.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT))

from run import make_blender_environment  # noqa: E402

_BPY_PYTHON = {4: "3.11", 5: "3.13"}  # except 5.0, which still has 3.11


def environment(bpy: str | None) -> Path:
    """The interpreter of the environment for a version of bpy (default: this Python's); makes it if need be."""
    base = _base_python(_python_version(bpy)) if bpy else sys.executable
    python = make_blender_environment(bpy, base)
    if python is None:
        raise SystemExit("Name a version with --bpy; its Python must be installed.")
    return python


def _python_version(bpy: str) -> str:
    return "3.11" if bpy.startswith("5.0") else _BPY_PYTHON[int(bpy.partition(".")[0])]


def _base_python(version: str) -> str:
    """An interpreter of exactly this version: bpy accepts no other."""
    if sys.version_info[:2] == tuple(int(part) for part in version.split(".")):
        return sys.executable
    found = shutil.which(f"python{version}")
    if found is None:
        raise SystemExit(
            f"This version of bpy needs Python {version}, which is not installed here."
        )
    return found


def build_zip(python: str) -> Path:
    """The extension for this platform, built by the interpreter that has the project installed."""
    command = [python, "-m", "blender_addon.package", "--platform", "current"]
    command += ["--out", str(ROOT / "build" / "blender")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"The extension could not be built: {done.stderr.strip()}")
    return Path(done.stdout.strip().splitlines()[-1])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bpy", help="a version of Blender, such as 4.2.23 or 5.2.3")
    parser.add_argument("--python", help="an interpreter that has bpy and pytest already")
    parser.add_argument("--server-python", default=sys.executable, help="one that has the server")
    chosen, rest = parser.parse_known_args(arguments)
    python = chosen.python or str(environment(chosen.bpy))
    probe = subprocess.run(
        [python, "-c", "import bpy"], capture_output=True, text=True, check=False
    )
    if probe.returncode != 0:
        reason = (probe.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        print(
            f"Blender's module cannot be loaded by {python}: {reason}\n"
            "A bare Debian or Ubuntu needs: apt-get install libgl1 libegl1 libx11-6 libxi6 libsm6 libice6 libxrender1 "
            "libxfixes3 libxxf86vm1 libxkbcommon0 libgomp1"
        )
        return 1
    variables = {
        **os.environ,
        "SCUMBLE_TEST_EXTENSION": str(build_zip(chosen.server_python)),
        "SCUMBLE_TEST_SERVER_PYTHON": chosen.server_python,
    }
    command = [python, "-m", "pytest", "-c", str(HERE / "pytest.ini"), "--rootdir", str(ROOT)]
    return subprocess.run(
        [*command, str(HERE), *rest], cwd=ROOT, env=variables, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
