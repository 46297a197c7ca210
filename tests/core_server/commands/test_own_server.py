"""A command without a running server starts one, with the real (tiny) model, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image


def scumble(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SCUMBLE_")}
    command = [sys.executable, "-m", "core_server", *arguments, "--data-dir", str(folder / "data")]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=190
    )


def test_a_recipe_repeats_the_picture_exactly(tmp_path: Path) -> None:
    settings = [
        "--width",
        "40",
        "--height",
        "24",
        "--num-inference-steps",
        "2",
        "--guidance-scale",
        "3.3",
    ]
    first = scumble(
        tmp_path, "generate", "oak, old", "-o", "a.png", "--model", "tiny", "--count", "2", "--seamless", "x",
        "--negative-prompt", "rust", "--scheduler", "ddim", *settings,
    )  # fmt: skip
    assert first.returncode == 0, first.stderr
    again = scumble(tmp_path, "generate", "--from", "a-2.png", "-o", "b.png", "--json")
    assert again.returncode == 0, again.stderr
    recipe = json.loads(again.stdout)["pictures"][0]["recipe"]
    assert (recipe["scheduler"], recipe["seamless"], recipe["model"]) == ("ddim", "x", "tiny")
    with Image.open(tmp_path / "a-2.png") as one, Image.open(tmp_path / "b.png") as other:
        assert np.array_equal(np.asarray(one), np.asarray(other))
        assert one.info["scumble"] == other.info["scumble"]
    assert not (tmp_path / "data" / "server.json").exists(), "the server has left"


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the data folder should be")
    outcome = scumble(tmp_path, "models", "list")
    assert outcome.returncode == 1
    assert "The server could not be started: The data folder" in outcome.stderr
    assert "Traceback" not in outcome.stderr
