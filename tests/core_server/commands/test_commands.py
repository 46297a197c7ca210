"""The `scumble` command as a process: what it does, says and returns."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import scumble.client
from core_server.canvas.geometry import Extent
from core_server.commands import COMMANDS
from core_server.commands.recipe import parameters_text, read_recipe
from tests.core_server.commands.conftest import Scumble
from tests.core_server.rpc.gateway import TOKEN, Gateway
from tests.fakes.runtime import picture


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture
def photo(tmp_path: Path) -> np.ndarray:
    """photo.png, 90 x 60 px, and mask.png, which selects an ellipse off its centre."""
    array = np.random.default_rng(1).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    Image.fromarray(array).save(tmp_path / "photo.png")
    y, x = np.mgrid[:60, :90]
    soft = np.clip(12 - np.hypot(x - 60, y - 20), 0, 4) / 4 * 255
    Image.fromarray(soft.astype(np.uint8)).save(tmp_path / "mask.png")
    return array


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_there(scumble: Scumble, command: str) -> None:
    outcome = scumble(*filter(None, [command]), "--help")
    assert outcome.returncode == 0
    assert outcome.stdout.startswith(f"usage: scumble {command}".rstrip())


def test_generate_writes_the_picture_with_its_recipe(scumble: Scumble, tmp_path: Path) -> None:
    outcome = scumble(
        "generate", "stone, old", "-o", "out.png", "--width", "40", "--height", "30", "--seed", "5"
    )
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert outcome.stdout == "out.png  40 x 30 px  seed 5\n"
    assert np.array_equal(pixels(tmp_path / "out.png"), picture(5, Extent(40, 30)))
    assert read_recipe(tmp_path / "out.png")["prompt"] == "stone, old"


def test_variations_are_numbered_and_told_as_json(scumble: Scumble, tmp_path: Path) -> None:
    outcome = scumble(
        *("generate", "x", "-o", "o.png", "--width", "8", "--height", "8", "--count", "2"),
        *("--priority", "batch", "--json"),
    )
    told = json.loads(outcome.stdout)
    assert [Path(entry["file"]).name for entry in told["pictures"]] == ["o-1.png", "o-2.png"]
    shown = json.loads(scumble("jobs", "show", told["job_id"], "--json").stdout)
    assert shown["priority"] == "batch"
    first, second = (entry["seed"] for entry in told["pictures"])
    assert second == first + 1
    assert pixels(tmp_path / "o-2.png").shape == (8, 8, 3)


def test_img2img_sends_the_picture_and_keeps_its_size(
    scumble: Scumble, tmp_path: Path, photo: np.ndarray
) -> None:
    outcome = scumble("img2img", "photo.png", "echo: it", "-o", "out.png", "--strength", "0.5")
    assert outcome.returncode == 0, outcome.stderr
    assert np.array_equal(pixels(tmp_path / "out.png"), photo)


def test_inpaint_changes_nothing_outside_the_mask(
    scumble: Scumble, tmp_path: Path, photo: np.ndarray
) -> None:
    outcome = scumble("inpaint", "photo.png", "mask.png", "stone", "-o", "out.png")
    assert outcome.returncode == 0, outcome.stderr
    result, mask = pixels(tmp_path / "out.png"), pixels(tmp_path / "mask.png")
    changed = (result != photo).any(axis=2)
    assert np.array_equal(result[mask == 0], photo[mask == 0])
    assert changed.sum() > (mask == 255).sum() * 0.9


def test_plan_only_paints_nothing(scumble: Scumble, tmp_path: Path, photo: np.ndarray) -> None:
    arguments = ("inpaint", "photo.png", "mask.png", "x", "-o", "out.png", "--plan-only")
    plan = json.loads(scumble(*arguments, "--json").stdout)
    assert plan["document"] == [90, 60]
    assert plan["selection"] == [49, 9, 23, 23]
    assert (plan["intent"], plan["fill"]) == ("fill", "blur"), "as the prompt decides"
    assert plan["drawing"] == "out.png"
    drawn = pixels(tmp_path / "out.png")
    assert drawn.shape[0] > 427, "the picture, enlarged to 640 px, and the numbers below it"
    assert drawn.shape[1] == 640
    # The tinted middle of the selection, and the far corner as it was.
    assert (drawn[20 * 7, 60 * 7] != photo[20, 60]).any()
    told = scumble(*arguments, "--exact-selection", "--padding", "5").stdout
    assert "selection        23 x 23 px at 49, 9" in told
    assert "the selection as it is" in told
    assert "padding 5 px" in told
    refused = scumble(*arguments[:5], "plan.xyz", "--plan-only")
    assert refused.returncode == 1
    assert "name a .png" in refused.stderr


@pytest.mark.usefixtures("photo")
def test_overrides_travel_with_the_plan(scumble: Scumble) -> None:
    arguments = ("inpaint", "photo.png", "mask.png", "x", "-o", "out.png", "--plan-only", "--json")
    more = ("--grow", "3", "--feather", "6", "--intent", "add_object", "--strength", "0.5")
    plan = json.loads(scumble(*arguments, *more).stdout)
    assert (plan["grow"], plan["feather"], plan["blend"]) == (3, 6, 6)
    assert (plan["intent"], plan["fill"]) == ("add_object", "neutral")


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (
            ["generate", "x", "-o", "o.png", "--scheduler", "nope"],
            1,
            "There is no scheduler 'nope'",
        ),
        (["generate", "x", "-o", "o.png", "--model", "nope"], 1, "There is no model 'nope'"),
        (["generate", "x", "-o", "o.png", "--width", "0"], 1, "width"),
        (["generate", "", "-o", "o.png"], 1, "prompt is empty"),
        (["generate", "-o", "o.png"], 1, "Say what to paint"),
        (["generate", "oom: x", "-o", "o.png"], 1, "too little memory"),
        (["generate", "x", "-o", "o.gif"], 1, "no known ending"),
        (["generate", "--from", "photo.png", "-o", "o.png"], 1, "carries no recipe"),
        (["img2img", "photo.png", "x", "-o", "o.png", "--strength", "0"], 1, "strength"),
        (["img2img", "half.png", "x", "-o", "o.png", "--strength", "1"], 1, "half.png is damaged"),
        (
            ["inpaint", "photo.png", "small.png", "x", "-o", "o.png"],
            1,
            "Both must have the same size",
        ),
        (["jobs", "show", "nope"], 1, "There is no job 'nope'"),
        (["models", "info", "nope"], 1, "There is no model 'nope'"),
        (["upscale", "photo.png", "-o", "o.png"], 1, "cannot do upscale"),
        (["outpaint", "photo.png", "x", "-o", "o.png"], 1, "Nothing is added on any side"),
        (["outpaint", "photo.png", "x", "-o", "o.png", "--top", "-1"], 1, "at the top is -1"),
        (["generate", "x"], 2, "required: -o"),
        (["paint"], 2, "invalid choice"),
        (["addon", "photoshop", "build"], 1, "nothing to build"),
        pytest.param(
            ["addon", "photoshop", "install"],
            1,
            "Only Windows has a start menu",
            marks=pytest.mark.skipif(os.name == "nt", reason="would install it"),
        ),
        (["generate", "x", "-o", "o.png", "--seed", "many"], 2, "invalid int value"),
        (["generate", "x", "-o", "o.png", "--seed", "-1"], 1, "seed is -1; it must be"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_mistakes_get_one_clear_line(  # noqa: PLR0917
    scumble: Scumble,
    tmp_path: Path,
    photo: np.ndarray,
    arguments: list[str],
    status: int,
    says: str,
) -> None:
    whole = (tmp_path / "photo.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    Image.new("L", (9, 9), 255).save(tmp_path / "small.png")
    outcome = scumble(*arguments)
    assert (outcome.returncode, outcome.stdout) == (status, "")
    assert says in outcome.stderr
    if status == 1:
        assert len(outcome.stderr.splitlines()) == 1
    assert not (tmp_path / "o.png").exists()


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"SCUMBLE_TOKEN": "wrong"}, "refused the token from SCUMBLE_TOKEN"),
        ({"SCUMBLE_SERVER": "127.0.0.1:1"}, "No Scumble server answers at 127.0.0.1:1"),
    ],
    ids=["wrong token", "no server"],
)
def test_a_server_that_cannot_be_used_is_told(
    scumble: Scumble, environment: dict[str, str], says: str
) -> None:
    outcome = scumble("models", "list", **environment)
    assert outcome.returncode == 1
    assert says in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1


def test_debug_shows_where(scumble: Scumble) -> None:
    outcome = scumble("jobs", "show", "nope", "--debug")
    assert outcome.stderr.startswith("Traceback")
    assert "There is no job 'nope'" in outcome.stderr.splitlines()[-1]


def test_jobs_are_listed_shown_and_cancelled(scumble: Scumble, gateway: Gateway) -> None:
    with scumble_client(gateway) as client:
        job = client.submit(scumble_request("slow: x"))
        assert job.id in scumble("jobs", "list", "--limit", "1").stdout
        assert (
            json.loads(scumble("jobs", "show", job.id[:12], "--json").stdout)["prompt"] == "slow: x"
        )
        assert scumble("jobs", "cancel", job.id).stdout == f"{job.id}  cancelled\n"
        shown = scumble("jobs", "show", job.id).stdout
        assert "state              cancelled" in shown
        assert "None" not in shown, "what it does not have is left out"
        watched = scumble("jobs", "watch", job.id)
        assert (watched.returncode, "cancelled" in watched.stderr) == (1, True)


def test_styles_are_those_of_the_server(scumble: Scumble, gateway: Gateway, tmp_path: Path) -> None:
    def listed(**environment: str) -> dict[str, bool]:
        outcome = scumble("styles", "--json", **environment)
        return {it["name"]: it["is_own"] for it in json.loads(outcome.stdout)}

    own = gateway.config.data_dir / "styles.json"
    own.write_text('{"mine": {"prompt": "{prompt}, mine"}}', encoding="utf-8")
    try:
        there = listed()
    finally:
        own.unlink()
    assert there["mine"]
    nobody = {"SCUMBLE_SERVER": "", "SCUMBLE_TOKEN": "", "SCUMBLE_DATA_DIR": str(tmp_path)}
    assert listed(**nobody) == {name: False for name in there if name != "mine"}
    assert "No Scumble server answers" in scumble("styles", SCUMBLE_SERVER="127.0.0.1:1").stderr


def scumble_client(gateway: Gateway) -> scumble.client.Client:
    return scumble.client.connect(gateway.address, token=TOKEN)


def scumble_request(prompt: str) -> scumble.client.TextToImage:
    return scumble.client.TextToImage(prompt, 8, 8)


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_an_interrupt_cancels_the_job(gateway: Gateway, tmp_path: Path) -> None:
    environment = os.environ | {"SCUMBLE_SERVER": gateway.address, "SCUMBLE_TOKEN": TOKEN}
    command = [sys.executable, "-m", "core_server", "generate", "slow: interrupted", "-o", "o.png"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    with scumble_client(gateway) as client:
        deadline = time.monotonic() + 120
        running = []
        while not running:
            assert time.monotonic() < deadline
            running = [s for s in client.jobs() if s.prompt == "slow: interrupted" and s.progress]
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
        assert (process.returncode, said) == (130, "scumble: interrupted\n")
        *_, last = client.job(running[0].job_id).watch()
        assert last.state == "cancelled"


def test_the_widely_read_text_has_its_form() -> None:
    recipe = {
        "prompt": "a, b", "negative_prompt": "c", "num_inference_steps": 8, "scheduler": "euler", "guidance_scale": 5.0,
        "seed": 7, "extent": [64, 48], "model": "my, model", "model_sha256": "0123456789abcdef",
        "versions": {"scumble": "0.1.0"},
    }  # fmt: skip
    assert parameters_text(recipe) == (
        "a, b\nNegative prompt: c\nSteps: 8, Sampler: euler, CFG scale: 5.0, Seed: 7, Size: 64x48, "
        'Model hash: 0123456789, Model: "my, model", Version: Scumble 0.1.0'
    )
