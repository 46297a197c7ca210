"""A disk that is really full, and one that can really only be read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = 'mount -t tmpfs -o size=8m none "$1" && exec "$2" -m tests.crash.full_disk "$1"'


def test_a_full_disk_is_told_and_gone_through(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    apart = [shutil.which("unshare") or "", "-rm"]
    probe = [*apart, "mount", "-t", "tmpfs", "none", str(disk)]
    if not apart[0] or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("this system lets nobody mount in a namespace of their own")
    outcome = subprocess.run(
        [*apart, "sh", "-c", SCRIPT, "sh", str(disk), sys.executable],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'protos'}"},
        capture_output=True,
        text=True,
        timeout=380,
    )
    assert outcome.returncode == 0, outcome.stderr
    told = json.loads(outcome.stdout.splitlines()[-1])
    for refused in ("upload", "job"):
        assert told[refused][0] == "LIMIT_EXCEEDED", told
        assert "disk with the data folder is full" in told[refused][1]
    assert (told["waiting"], told["stored"]) == ("running", 512)
    assert (told["after"], told["early"]) == (16, 16)
    status, sentence = told["read_only"]
    assert status == 1
    assert "mistake of ours" not in sentence
    assert str(disk / "data") in sentence
