"""Blender quits while a texture is painted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import scumble.client
from tests.real_server import RealServer


def test_quitting_cancels_the_job_and_does_not_hang(shared_server: RealServer) -> None:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("quit_while_painting.py"))],
        env={
            **os.environ,
            "SCUMBLE_SERVER": shared_server.address,
            "SCUMBLE_TOKEN": shared_server.token,
        },
        capture_output=True,
        text=True,
        timeout=390,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "painting True" in done.stdout
    with (
        scumble.client.connect(data_dir=shared_server.data_dir) as client,
        pytest.raises(scumble.client.Cancelled),
    ):
        client.job(client.jobs(limit=1)[0].job_id).result(timeout=200)
