"""The ExtendScript programs against judges that are not ours: an ES3 parser, and Adobe's object model as types.

Needs Node and, once, the npm registry; package-lock.json pins what is installed.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import photoshop_plugin.host
from tests.npm import node_modules

HERE = Path(__file__).parent
PROGRAMS = sorted((Path(photoshop_plugin.host.__file__).parent / "jsx").glob("*.jsx"))
TYPES = HERE / "node_modules/types-for-adobe/Photoshop/2015.5/index.d.ts"


@pytest.fixture(scope="module")
def node() -> str:
    node_modules(HERE)
    return shutil.which("node") or "node"


def run(node: str, script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [node, HERE / "node_modules" / script, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=HERE, check=False, timeout=300
    )


def type_check(node: str, *programs: Path) -> subprocess.CompletedProcess[str]:
    options = [
        "--allowJs",
        "--checkJs",
        "--noEmit",
        "--noLib",
        "--jsx",
        "preserve",
        "--target",
        "es5",
    ]
    return run(node, "typescript/bin/tsc", *options, TYPES, "globals.d.ts", *programs)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_programs_are_es3(node: str, program: Path) -> None:
    outcome = run(node, "acorn/bin/acorn", "--ecma3", "--silent", program)
    assert outcome.returncode == 0, outcome.stderr


def test_programs_fit_adobes_object_model(node: str) -> None:
    outcome = type_check(node, *PROGRAMS)
    assert outcome.returncode == 0, outcome.stdout


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("selection.deselect()", "selection.deselekt()"),
        ("SelectionType.REPLACE", "SelectionType.REPLACED"),
    ],
)
def test_a_slip_is_noticed(node: str, tmp_path: Path, right: str, wrong: str) -> None:
    paths = []
    for program in PROGRAMS:
        path = tmp_path / program.name
        path.write_text(program.read_text().replace(right, wrong))
        paths.append(path)
    outcome = type_check(node, *paths)
    assert outcome.returncode != 0
    assert wrong.split(".")[1].strip("()") in outcome.stdout
