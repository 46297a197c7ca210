"""Runs the add-on's tests inside a real Blender (the `bpy` module), in an environment of their own.

    python tests/blender_addon/bpy/run_suite.py [--bpy VERSION|here|all] [--model NAME] [--python PY] [options ...]

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

_PYENV = Path.home() / ".pyenv" / "versions"
HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT))

from run import BPY_FOR_PYTHON, TESTS_FAILED, again_alone, make_blender_environment  # noqa: E402

SUPPORTED = {
    "4.2.23": "3.11",
    "4.5.15": "3.11",
    "5.0.1": "3.11",
    "5.1.2": "3.13",
    "5.2.3": "3.13",
}
"""The newest patch of every minor version since 4.2 that the package index keeps, and its Python."""


def environment(bpy: str | None) -> Path:
    """The interpreter of the environment for a version of bpy (default: this Python's); makes it if need be."""
    base = _base_python(python_version(bpy)) if bpy else sys.executable
    python = make_blender_environment(bpy, base)
    if python is None:
        raise SystemExit("Name a version with --bpy; its Python must be installed.")
    return python


def python_version(bpy: str) -> str:
    """The only Python that a version of bpy accepts."""
    return "3.11" if bpy.startswith(("4.", "5.0")) else "3.13"


def _installed() -> list[str]:
    """One long-term version of Blender for every Python that is here."""
    versions = list(BPY_FOR_PYTHON.values())
    here = [version for version in versions if _find_python(python_version(version))]
    for version in versions:
        if version not in here:
            print(f"Blender {version} is left out: Python {python_version(version)} is not here.")
    return here


def _base_python(version: str) -> str:
    """An interpreter of exactly this version: bpy accepts no other."""
    found = _find_python(version)
    if found is None:
        raise SystemExit(
            f"This version of bpy needs Python {version}, which is not installed here."
        )
    return found


def _find_python(version: str) -> str | None:
    if sys.version_info[:2] == tuple(int(part) for part in version.split(".")):
        return sys.executable
    for name in (f"python{version}", *map(str, _PYENV.glob(f"{version}.*/bin/python"))):
        # pyenv's stand-ins are on the PATH even where they lead nowhere.
        found = shutil.which(name)
        if (
            found
            and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0
        ):
            return found
    return None


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
    parser.add_argument(
        "--bpy",
        help=f"a version of Blender, such as 4.2.23; all: {', '.join(SUPPORTED)} in turn; "
        f"here: of {', '.join(BPY_FOR_PYTHON.values())} those whose Python is installed",
    )
    parser.add_argument(
        "--model", default="tiny", help="what the servers paint with: tiny (default) or default"
    )
    parser.add_argument("--python", help="an interpreter that has bpy and pytest already")
    parser.add_argument("--server-python", default=sys.executable, help="one that has the server")
    chosen, rest = parser.parse_known_args(arguments)
    if chosen.bpy in ("all", "here"):
        versions = list(SUPPORTED) if chosen.bpy == "all" else _installed()
        failed = [
            version for version in versions if _run(str(environment(version)), chosen, rest) != 0
        ]
        print(
            f"Blender {', '.join(versions) or 'was not tried'}; failed: {', '.join(failed) or 'none'}"
        )
        return len(failed)
    return _run(chosen.python or str(environment(chosen.bpy)), chosen, rest)


def _run(python: str, chosen: argparse.Namespace, rest: Sequence[str]) -> int:
    """pytest inside one Blender."""
    print(f"Blender of {python}", flush=True)
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
        "SCUMBLE_TEST_MODEL": chosen.model,
    }
    cache = ROOT / ".pytest_cache" / "blender"
    command = [python, "-m", "pytest", "-c", str(HERE / "pytest.ini"), "--rootdir", str(ROOT)]
    command += ["-o", f"cache_dir={cache}", str(HERE), *rest]
    status = subprocess.run(command, cwd=ROOT, env=variables, check=False).returncode
    if status == TESTS_FAILED and not rest:
        status = again_alone(command, cache, variables)
    return status


if __name__ == "__main__":
    sys.exit(main())
