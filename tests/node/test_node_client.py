"""Another language, nothing but the .proto files: generate, watch, cancel, and be refused."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import scumble.client
from tests.real_server import running_server

HERE = Path(__file__).parent
PROTOS = HERE.parents[1] / "protos"


def test_generate_watch_cancel(node_modules: Path, tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        command = ["node", str(HERE / "client.mjs"), server.address, server.token, str(PROTOS)]
        outcome = subprocess.run(command, capture_output=True, text=True, timeout=380)
        assert outcome.returncode == 0, outcome.stderr
        report = json.loads(outcome.stdout)
        request = scumble.client.TextToImage(
            prompt="red bricks", width=64, height=48, model="tiny", num_inference_steps=4, seed=7
        )
        with scumble.client.connect(server.address, token=server.token) as client:
            [patch] = client.submit(request).result()
    assert report["states"] == ["JOB_STATE_QUEUED", "JOB_STATE_RUNNING", "JOB_STATE_SUCCEEDED"]
    assert report["numbers"] == sorted(set(report["numbers"]))
    assert report["progressed"]
    assert report["header"]["extent"] == {"width": 64, "height": 48}
    assert report["bytes"] == 64 * 48 * report["header"]["channels"]
    assert report["sha256"] == hashlib.sha256(patch.pixels.tobytes()).hexdigest()
    assert report["cancelled"] == "JOB_STATE_CANCELLED"
    assert report["refused"] == "UNAUTHENTICATED"
