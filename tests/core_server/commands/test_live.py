"""`scumble live`: a picture for each change of the file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.core_server.commands.conftest import Scumble
from tests.core_server.rpc.gateway import TOKEN, Gateway

SECONDS = 60


def draw(path: Path, value: int, size: tuple[int, int] = (12, 8)) -> None:
    """Replaces the file at once, as paint programs do."""
    draft = path.with_suffix(".draft.png")
    Image.fromarray(np.full((size[1], size[0], 3), value, np.uint8)).save(draft)
    draft.replace(path)


def wait_for(path: Path, value: int) -> Image.Image:
    deadline = time.monotonic() + SECONDS
    while True:
        if path.exists():
            picture = Image.open(path)
            if (np.asarray(picture) == value).all():
                return picture
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C of another process is POSIX")
def test_each_change_of_the_file_is_painted(gateway: Gateway, tmp_path: Path) -> None:
    source, output = tmp_path / "in.png", tmp_path / "out.png"
    draw(source, 10)
    command = [sys.executable, "-m", "core_server", "live", str(source), "moss", "-o", str(output)]
    server = {"SCUMBLE_SERVER": gateway.address, "SCUMBLE_TOKEN": TOKEN, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, env=os.environ | server, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_for(output, 245)
            draw(source, 20)
            wait_for(output, 235)
            draw(source, 30, size=(20, 6))
            assert wait_for(output, 225).size == (20, 6)
            process.send_signal(signal.SIGINT)
            said, complaints = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "pictures/s" in said
    assert "interrupted" in complaints


def test_it_ends_after_so_many_pictures_of_the_size_asked_for(
    scumble: Scumble, tmp_path: Path
) -> None:
    draw(tmp_path / "in.png", 1, size=(40, 20))
    outcome = scumble("live", "in.png", "moss", "-o", "out.png", "--size", "10", "--pictures", "1")
    assert outcome.returncode == 0, outcome.stderr
    assert Image.open(tmp_path / "out.png").size == (10, 5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["in.png", "moss", "-o", "in.png"], "same file"),
        (["in.png", "moss", "-o", "out.png", "--num-inference-steps", "9"], "from 1 to 4"),
        (["in.png", "moss", "-o", "out.png", "--size", "0"], "1 px or more"),
        (["none.png", "moss", "-o", "out.png"], "none.png"),
    ],
    ids=["onto itself", "steps", "size", "no file"],
)
def test_what_cannot_be_done_is_said_in_one_line(
    scumble: Scumble, tmp_path: Path, arguments: list[str], words: str
) -> None:
    draw(tmp_path / "in.png", 1)
    outcome = scumble("live", *arguments)
    assert outcome.returncode == 1
    lines = outcome.stderr.splitlines()
    assert words in lines[-1]
    assert [it for it in lines[:-1] if not it.startswith("Watching")] == []
