#!/usr/bin/env python3
"""Scumble's bootstrap: needs Python 3.11 or newer and nothing else, on Linux, macOS and Windows.

    python3 run.py demo [--out DIR]   set everything up and do the main job on real input; pictures in DIR
    python3 run.py test [ARGS...]     set everything up and run the whole test suite; ARGS go to pytest
    python3 run.py serve [ARGS...]    set the server up and start it; ARGS go to `scumble serve`
    python3 run.py photoshop          set the server up and put the Photoshop panel into the start menu (Windows)
    python3 run.py setup [--gpu KIND] only set up: .venv for the server, .venv-blender-* for Blender's side

Environments are made beside this file, once; the second run starts at once. Deleting them is safe.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent
CONSTRAINTS = ROOT / ".ci" / "constraints.txt"
SERVER_ENV = ROOT / ".venv"
SERVER_EXTRAS = "server,dev"
TORCH_INDEX = "https://download.pytorch.org/whl/"
GPU_KINDS = ("auto", "cpu", "cu130", "rocm", "mps")
ROCM_INDEX = "rocm7.1"
TESTS_FAILED = 1  # pytest's exit status; any other one is no matter of single tests
MOST_REPEATED = 3
BLENDER_SUITE = ROOT / "tests" / "blender_addon" / "bpy"
# The Blender that goes with each Python; bpy names its Python exactly, and 3.12 has none.
BPY_FOR_PYTHON = {(3, 11): "4.5.15", (3, 13): "5.2.3"}


def main() -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 (this file may meet an older one)
        found = ".".join(map(str, sys.version_info[:2]))
        print(f"Scumble needs Python 3.11 or newer; this is {found}.", file=sys.stderr)
        return 1
    options, rest = parse_arguments()
    try:
        return int(options.run(options, rest))
    except subprocess.CalledProcessError as error:
        command = " ".join(map(str, error.cmd))
        print(f"\nThis step failed (exit status {error.returncode}): {command}", file=sys.stderr)
        print(
            "Its own message stands above. Mend it and run the same command again.", file=sys.stderr
        )
        return 1
    except KeyboardInterrupt:
        return 130


def parse_arguments() -> tuple[argparse.Namespace, list[str]]:
    """The chosen command and what is passed on to it."""
    parser = argparse.ArgumentParser(
        prog="run.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    actions = {
        "demo": (demo, "do the main job on real input"),
        "test": (test, "run the whole test suite"),
        "serve": (serve, "start the server"),
        "photoshop": (photoshop, "put the Photoshop panel into the start menu (Windows)"),
        "setup": (setup, "make the environments"),
    }
    for name, (action, text) in actions.items():
        command = commands.add_parser(name, help=text, add_help=name in ("demo", "setup"))
        command.set_defaults(run=action)
        command.add_argument(
            "--gpu",
            choices=GPU_KINDS,
            default="auto",
            help="which build of torch to install: auto looks for an NVIDIA driver",
        )
        if name == "demo":
            command.add_argument(
                "--out", type=Path, default=ROOT / "demo", help="where the pictures go"
            )
    options, rest = parser.parse_known_args()
    if rest and options.run in (demo, setup):
        parser.error(f"unknown arguments: {' '.join(rest)}")
    return options, rest


def demo(options: argparse.Namespace, _rest: list[str]) -> int:
    server = make_server_environment(options.gpu)
    command = [str(server), "-m", "core_server", "demo", "--out", str(options.out.resolve())]
    blender = make_blender_environment()
    if blender is not None:
        command += ["--blender-python", str(blender)]
    return subprocess.run(command, check=False).returncode


def test(options: argparse.Namespace, rest: list[str]) -> int:
    server = make_server_environment(options.gpu)
    command = [str(server), "-m", "pytest", *rest]
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    if rest:  # a chosen part of the suite
        return status
    if status == TESTS_FAILED:
        status = again_alone(command, ROOT / ".pytest_cache")
    suite = [str(server), str(BLENDER_SUITE / "run_suite.py"), "--bpy", "here"]
    return subprocess.run(suite, cwd=ROOT, check=False).returncode or status


def again_alone(
    command: list[str], cache: Path, environment: Mapping[str, str] | None = None
) -> int:
    """Runs the few tests that failed once more, by themselves; the exit status says how that went.

    The suite starts hundreds of servers and windows: on a machine with other work a deadline may pass that is
    generous anywhere else. What fails twice, or fails with many others, is a fault; what passes alone is named.
    """
    failed = json.loads((cache / "v" / "cache" / "lastfailed").read_text(encoding="utf-8"))
    if len(failed) > MOST_REPEATED:
        return TESTS_FAILED
    print(f"\nOnce more, alone: {', '.join(failed)}", flush=True)
    command = [*command, "--last-failed"]
    status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    if status == 0:
        print("Passed alone, failed in the whole run: look at them when there is time.", flush=True)
    return status


def serve(options: argparse.Namespace, rest: list[str]) -> int:
    server = make_server_environment(options.gpu)
    return subprocess.run(
        [str(server), "-m", "core_server", "serve", *rest], check=False
    ).returncode


def photoshop(options: argparse.Namespace, rest: list[str]) -> int:
    server = make_server_environment(options.gpu)
    command = [str(server), "-m", "photoshop_plugin", "install", *rest]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def setup(options: argparse.Namespace, _rest: list[str]) -> int:
    server = make_server_environment(options.gpu)
    make_blender_environment()
    print(f"Ready. The command is {server.parent / 'scumble'}")
    return 0


def make_server_environment(gpu: str) -> Path:
    """The interpreter of `.venv` with the server, the tests' tools and the right torch."""
    kind = gpu if gpu != "auto" else ("cu130" if shutil.which("nvidia-smi") else "cpu")
    pinned = ["--constraint", str(CONSTRAINTS)]
    requirements = [
        [*pinned, "torch", *torch_index(kind)],
        [*pinned, "--editable", f"{ROOT}[{SERVER_EXTRAS}]"],
    ]
    return make_environment(SERVER_ENV, requirements, label=f"the server's environment ({kind})")


def make_blender_environment(
    bpy: str | None = None, base_python: str = sys.executable
) -> Path | None:
    """The interpreter of an environment with bpy and pytest, as Blender has them, without torch and without Scumble.

    bpy: a version; the default is the one for this Python, and None is returned if there is none.
    base_python: the interpreter to build on; must be the version that this bpy names.
    """
    version = bpy or BPY_FOR_PYTHON.get(sys.version_info[:2])
    if version is None:
        found = ".".join(map(str, sys.version_info[:2]))
        print(f"bpy has no package for Python {found} (3.11 and 3.13 have one).")
        print("Blender's part is left out.", flush=True)
        return None
    pins = (BLENDER_SUITE / "requirements.txt").read_text(encoding="utf-8").split("\n")
    others = [pin for pin in pins if pin and not pin.startswith(("#", "bpy"))]
    if version == BPY_FOR_PYTHON[(3, 11)]:
        requirements = [f"bpy=={version}", *others]
    else:  # every Blender brings the numpy it was made with
        requirements = [f"bpy=={version}", *(pin for pin in others if not pin.startswith("numpy"))]
    folder = ROOT / f".venv-blender-{version}"
    label = f"Blender's environment (bpy {version}, about 1 GB)"
    return make_environment(folder, [requirements], label=label, base_python=base_python)


def torch_index(kind: str) -> list[str]:
    """pip options for one build of torch. PyPI's own build is right for macOS, and for NVIDIA on Linux."""
    if kind == "mps" or (kind == "cu130" and sys.platform == "linux"):
        return []
    url = TORCH_INDEX + {"rocm": ROCM_INDEX}.get(kind, kind)
    if sys.platform == "darwin" or not reachable(url):
        return []  # an index configured for pip may still have the right build
    return ["--extra-index-url", url]


def reachable(url: str) -> bool:
    """Whether an index answers within three seconds; pip alone would retry for a minute."""
    try:
        with urllib.request.urlopen(url + "/", timeout=3):  # noqa: S310 (a constant https address)
            return True
    except OSError:
        return False


def make_environment(
    folder: Path,
    requirements: list[list[str]],
    *,
    label: str,
    base_python: str = sys.executable,
) -> Path:
    """Makes or updates a virtual environment and returns its interpreter. Idempotent.

    requirements: argument lists for `pip install`, run in order.
    """
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = folder / "scumble-setup.txt"
    wanted = fingerprint(requirements)
    if python.is_file() and stamp.is_file() and stamp.read_text() == wanted:
        return python
    print(f"Setting up {label}; this takes a few minutes once ...", flush=True)
    if not python.is_file():
        subprocess.run([base_python, "-m", "venv", "--clear", str(folder)], check=True)
    for arguments in requirements:
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *arguments], check=True)
    stamp.write_text(wanted)
    return python


def fingerprint(requirements: list[list[str]]) -> str:
    """Changes when an environment must be brought up to date."""
    digest = hashlib.sha256(repr((sys.version_info[:3], requirements)).encode())
    for path in (ROOT / "pyproject.toml", CONSTRAINTS):
        digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
