"""Every suite in its quick form, through the command, against a real gateway with a scripted painter."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core_server.benchmarks.suites import SUITES
from tests.core_server.rpc.gateway import TOKEN, Gateway, running_gateway


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("bench")) as running:
        running.run(running.jobs.engine.wait_ready())
        yield running


def bench(
    gateway: Gateway, folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> dict[str, Any]:
    """What `scumble bench ARGUMENTS --json` wrote, by row name."""
    monkeypatch.setenv("SCUMBLE_TOKEN", TOKEN)
    found = folder / "found.json"
    command = [sys.executable, "-m", "core_server", "bench", "--quick", "--runs", "1"]
    command += ["--server", gateway.address, "--json", str(found), *arguments]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=390)
    assert outcome.returncode == 0, outcome.stderr
    assert "for docs/benchmarks.md:" in outcome.stdout
    report = json.loads(found.read_text())
    return {row["name"]: row for row in report["rows"]} | {"report": report}


def test_canvas(gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = bench(gateway, tmp_path, monkeypatch, "--suite", "canvas", "--model", "tiny")
    assert rows["planning"]["target"] == {"kind": "at most", "bound": 1.0}
    assert rows["ratio to its context"]["value"] > 0
    assert rows["of it paste"]["value"] > 0


def test_tiles(gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = bench(gateway, tmp_path, monkeypatch, "--suite", "tiles", "--model", "tiny")
    for task in ("texture", "image to image", "inpainting across the border"):
        assert rows[f"seam ratio x, {task}"]["target"] == {"kind": "at most", "bound": 1.05}
        assert rows[f"seam ratio y, {task}"]["value"] > 0
    assert "cannot do upscale" in rows["seam ratio, upscaled"]["note"]
    assert rows["edge on flat, soft edge"]["target"] == {"kind": "at most", "bound": 1.0}
    assert rows["edge on gradient, exact selection"]["value"] < 100


def test_live(gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = bench(gateway, tmp_path, monkeypatch, "--suite", "live", "--model", "tiny")
    assert rows["1 step, 32 px"]["value"] > 0
    assert rows["2 steps, latency p99"]["value"] >= rows["2 steps, latency p50"]["value"]
    assert 0 <= rows["dropped in a hurry"]["value"] < 100
    assert rows["1 step in a hurry, 32 px"]["value"] > 0
    assert rows["2 steps, two in flight, 32 px"]["value"] > 0
    assert rows["1 step, at a steady pace, 32 px"]["value"] > 0
    p99 = rows["1 step, at a steady pace, latency p99"]["value"]
    assert p99 <= rows["1 step, at a steady pace, slowest"]["value"]
    assert len(rows["report"]["details"]["1 step"]["latency_ms"]) == 4


def test_server_beside_stock_diffusers(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = bench(gateway, tmp_path, monkeypatch, "--suite", "server", "--device", "cpu",
                 "--model", "tiny", "--against", "diffusers")  # fmt: skip
    seconds = rows["report"]["details"]["seconds"]
    assert {name: len(runs) for name, runs in seconds.items()} == dict.fromkeys(
        ("server", "outside", "upload", "download", "scumble", "diffusers"), 1
    )
    assert set(rows["report"]["details"]["crowds"]) == {"4", "16"}
    assert rows["16 clients, overhead for each picture"]["target"]["kind"] == "at most"
    ours, stock = rows["in-process"]["value"], rows["stock diffusers"]["value"]
    assert rows["in-process / stock diffusers"]["value"] == pytest.approx(ours / stock)


def test_default_model_judges_noise_as_noise(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = bench(gateway, tmp_path, monkeypatch, "--suite", "default-model", "--model", "tiny",
                 "--out", str(tmp_path))  # fmt: skip
    # The scripted painter answers with coloured noise: grey in the mean, and a tile like any other.
    assert rows["colour error, median"]["value"] > 5
    assert rows["seam ratio x, texture"]["value"] == pytest.approx(1, abs=0.1)
    assert rows["seam ratio y, image to image"]["note"].startswith("1.")
    assert rows["first picture, cold"]["value"] is None
    assert len(rows["report"]["details"]["questions"]) == 4
    assert len(list(tmp_path.glob("0*.png"))) == 4
    assert (tmp_path / "sheet.jpg").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--suite", "start"), "leave --server out"),
        (
            ("--suite", "canvas", "--against", "diffusers"),
            "belongs to the suites server and images",
        ),
        (("--suite", "canvas", "--denoiser-precision", "fp8"), "belongs to the suite images"),
        (("--runs", "0"), "it must be 1 or more"),
        (("--suite", "canvas", "--photos", "."), "belongs to the suite default-model"),
        (("--suite", "tiles", "--out", "."), "belongs to the suites default-model, images and"),
        (("--suite", "default-model", "--photos", "nowhere"), "is no folder"),
    ],
    ids=["start", "against", "precision", "runs", "photos", "out", "no photos"],
)
def test_what_cannot_be_measured_is_said_in_one_line(
    gateway: Gateway, arguments: tuple[str, ...], complaint: str
) -> None:
    command = [sys.executable, "-m", "core_server", "bench", "--server", gateway.address]
    outcome = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=300)
    assert outcome.returncode == 1
    assert complaint in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_every_suite_has_its_module() -> None:
    folder = Path(__file__).parents[3] / "core_server" / "benchmarks"
    assert all((folder / f"{module}.py").is_file() for module, _, _ in SUITES.values())
