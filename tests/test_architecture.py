"""The rules of the house that a machine can check: imports, generated code, style, types."""

from __future__ import annotations

import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]


def check(*command: str) -> None:
    outcome = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_imports_point_one_way() -> None:
    check("-c", "from importlinter.cli import lint_imports_command as run; run()")


def test_no_modules_import_each_other_in_a_circle() -> None:
    """At run time; a type may be named both ways."""
    for package in ("core_server", "scumble", "blender_addon", "photoshop_plugin"):
        graph = grimp.build_graph(package, exclude_type_checking_imports=True, cache_dir=None)
        of = graph.find_modules_directly_imported_by
        # Raises CycleError with the circle.
        TopologicalSorter({module: of(module) for module in graph.modules}).prepare()


def test_generated_code_is_current() -> None:
    check("protos/build.py", "--check")


@pytest.mark.parametrize(
    "arguments", [("check", "."), ("format", "--check", ".")], ids=["lint", "format"]
)
def test_style(arguments: tuple[str, ...]) -> None:
    check("-m", "ruff", *arguments)


@pytest.mark.timeout(600)
def test_types() -> None:
    packages = (
        "core_server",
        "blender_addon",
        "photoshop_plugin",
        "protos/scumble",
        "protos/build.py",
        "run.py",
    )
    check("-m", "mypy", *packages)


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("core_server.rpc.server", ("torch", "diffusers", "transformers")),
        ("core_server.serve", ("torch", "diffusers", "transformers")),
        ("core_server.cli", ("torch", "diffusers", "grpc", "numpy")),
        ("scumble.client", ("torch", "diffusers", "numpy", "core_server", "bpy")),
        ("photoshop_plugin", ("torch", "comtypes", "photoshop", "numpy")),
    ],
)
def test_importing_stays_light(module: str, forbidden: tuple[str, ...]) -> None:
    check(
        "-c",
        f"import {module}, sys; found = set({forbidden!r}) & set(sys.modules); assert not found, found",
    )


def test_no_file_grew_into_a_map() -> None:
    """400 lines is where a file of ours is split."""
    files = subprocess.run(
        ["git", "ls-files", "*.py", "*.jsx"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    long = {
        name: len((ROOT / name).read_text().splitlines()) for name in files if "_pb2" not in name
    }
    assert {name: lines for name, lines in long.items() if lines > 400} == {}
