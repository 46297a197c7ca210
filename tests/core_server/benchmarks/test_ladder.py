"""The memory ladder's measurements in small on a CPU: everything is measured, what fails is a line like the others."""

from __future__ import annotations

import json
from pathlib import Path

from core_server.benchmarks.ladder import main
from core_server.benchmarks.ladder_table import as_markdown


def test_cards_and_rungs_in_small(tmp_path: Path) -> None:
    told, tables = tmp_path / "found.jsonl", tmp_path / "found.md"
    main(
        [
            str(tmp_path / "made"), "sd15", "--device=cpu", "--small", "--steps=1", "--seconds=600",
            "--gigabytes", "0.001", f"--json={told}", f"--markdown={tables}",
            "--rungs", "model_offload",
        ]
    )  # fmt: skip
    made, card, misjudged, rung = map(json.loads, told.read_text().splitlines())
    assert made["weights"] > 0
    assert (card["gigabytes"], card["ended on"]) == (0.001, "quantised")
    assert (misjudged["misjudged"], misjudged["ended on"]) == (True, "resident")
    assert rung["ended on"] == rung["rung"] == "model_offload"
    assert all(len(it["seconds"]) == 3 for it in (card, misjudged, rung))
    assert not (tmp_path / "made" / "models" / "sd15").exists(), "gigabytes that nobody needs now"
    text = tables.read_text()
    assert "| Stable Diffusion 1.5 | 0.001 |" in text
    assert "| Stable Diffusion 1.5 | model_offload |" in text


def test_what_fails_and_what_is_left_out_stands_in_the_table() -> None:
    text = as_markdown(
        [
            {"case": "sdxl", "gigabytes": 4.0, "failed": "ran out of memory"},
            {"case": "klein", "failed": "left out: the time was up"},
        ]
    )
    assert "| SDXL | 4 |  | ran out of memory |" in text
    assert "FLUX.2 klein 4B: left out: the time was up" in text
