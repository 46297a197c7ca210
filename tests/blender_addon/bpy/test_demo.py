"""The demo's scene: the operator, a saved file and a picture, in a process of its own as `run.py demo` starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.real_server import RealServer

ROOT = Path(__file__).resolve().parents[3]


def run(out: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "blender_addon" / "demo_scene.py"), "--out", str(out)]
    command += ["--extension", os.environ["SCUMBLE_TEST_EXTENSION"], "--prompt", "bricks"]
    command += ["--size", "64", "--num-inference-steps", "2", "--samples", "2"]
    command += ["--render-size", "64", "48"]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def test_demo_scene(shared_server: RealServer, tmp_path: Path) -> None:
    done = run(tmp_path, SCUMBLE_SERVER=shared_server.address, SCUMBLE_TOKEN=shared_server.token)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout.strip().splitlines()[-1])
    assert (report["seed"], report["recipe"]["seamless"]) == (7, "xy")
    for name in ("texture", "render", "blend"):
        assert Path(report[name]).stat().st_size > 1000


def test_without_a_server_it_says_so_in_one_line(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("No Scumble server is running")
