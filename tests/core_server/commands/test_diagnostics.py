"""The bundle for a bug report says what happened, and nothing that is somebody's own."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import scumble.client
from core_server.commands.diagnostics import write_bundle
from core_server.rpc.tokens import TokenBook
from scumble.client import TextToImage
from tests.real_server import running_server

PROMPT = "a-prompt-that-is-my-own-business"


def test_logs_and_counts_without_prompts_and_secrets(tmp_path: Path) -> None:
    data_dir, bundle = tmp_path / "data", tmp_path / "bundle.zip"
    with (
        running_server(data_dir) as server,
        scumble.client.connect(server.address, token=server.token) as client,
    ):
        job = client.submit(TextToImage(PROMPT, width=64, height=64, num_inference_steps=1))
        job.result(timeout=300)
    named = TokenBook(data_dir).add("ada")
    with (data_dir / "logs" / "server.log").open("a", encoding="utf-8") as log:
        log.write(f'{{"message": "by mistake {server.token} and {named}"}}\n')
    (data_dir / "config.toml").write_text("[limits]\nmax_steps = 9\n")
    names = write_bundle(bundle, data_dir, [{"name": "Python", "found": "3"}])
    with zipfile.ZipFile(bundle) as opened:
        assert opened.namelist() == names
        parts = {name: opened.read(name).decode() for name in names}
    everything = "\n".join(parts.values())
    for secret in (PROMPT, server.token, named):
        assert secret not in everything
    assert "by mistake <secret> and <secret>" in parts["logs/server.log"]
    assert job.id in parts["logs/server.log"]
    assert json.loads(parts["jobs.json"])["states"] == {"succeeded": 1}
    assert "max_steps = 9" in parts["config.toml"]
    assert "blobs: 1 files" in parts["files.txt"]
