"""buf: the contract is in STANDARD style, commented throughout, and breaks no published version of itself.

`protos/baseline.binpb` is the contract as last released. A release renews it:
`buf build protos --exclude-source-info -o protos/baseline.binpb`
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

PROTOS = Path(__file__).parents[2] / "protos"


def buf(node_modules: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(node_modules / ".bin" / "buf"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=PROTOS, timeout=380)


def test_lint(node_modules: Path) -> None:
    outcome = buf(node_modules, "lint")
    assert outcome.returncode == 0, outcome.stdout


def test_breaks_no_published_version(node_modules: Path) -> None:
    outcome = buf(node_modules, "breaking", "--against", "baseline.binpb")
    assert outcome.returncode == 0, outcome.stdout


def test_breaking_changes_would_be_seen(node_modules: Path, tmp_path: Path) -> None:
    changed = tmp_path / "protos"
    shutil.copytree(PROTOS, changed, ignore=shutil.ignore_patterns("*.py*", "__pycache__"))
    image = changed / "scumble/v1/image.proto"
    image.write_text(image.read_text().replace("int32 channels = 2;", "int64 channels = 2;"))
    outcome = buf(node_modules, "breaking", str(changed), "--against", "baseline.binpb")
    assert "channels" in outcome.stdout and outcome.returncode != 0
