"""The script for a real Photoshop, run against the in-memory one; and a Photoshop that behaves otherwise is noticed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from photoshop_plugin.acceptance import read_report, run_checks, write_report
from photoshop_plugin.acceptance_checks import CHECKS
from photoshop_plugin.host.photoshop import ComPhotoshop
from tests.fakes.photoshop import Application
from tests.fakes.photoshop.com import Com
from tests.fakes.photoshop.layer import ArtLayer, Layer
from tests.photoshop_plugin.scene import Seen, open_document

DOCS = Path(__file__).parents[2] / "docs" / "photoshop.md"


@pytest.mark.parametrize("land", ["same", "centre"])
@pytest.mark.parametrize("keeps_selection", [True, False])
def test_the_in_memory_photoshop_passes(
    com: Com, host: ComPhotoshop, tmp_path: Path, *, keeps_selection: bool, land: str
) -> None:
    com.running = Application(
        duplicates_land=land,  # type: ignore[arg-type]
        duplicates_keep_selection=keeps_selection,
        groups_land="top" if keeps_selection else "active",
        tiff_transparency="assocalpha" if keeps_selection else "unassalpha",
    )
    artists = open_document(com.running)
    before = Seen(artists)
    lines: list[str] = []
    write_report(run_checks(host, lines.append), tmp_path / "report.json")
    report = read_report(tmp_path / "report.json")
    assert report.passed, lines
    assert report.photoshop == com.running.version
    assert [it.name for it in report.outcomes] == [check.name for check in CHECKS]
    said = {it.name: it.detail for it in report.outcomes}
    assert said["copy-selection"] == ("kept" if keeps_selection else "not kept")
    assert said["selection-bounds"] == "of everything selected"
    assert com.running.open_documents == [artists]
    com.running.front = artists
    assert before.differences(Seen(artists)) == []


def test_a_photoshop_that_behaves_otherwise_is_told(
    photoshop: Application, host: ComPhotoshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stays(self: Layer, relative: Layer, placement: object) -> Layer:
        return self

    stays.is_method = True  # type: ignore[attr-defined]
    monkeypatch.setattr(ArtLayer, "move", stays)
    outcomes = {it.name: it.outcome for it in run_checks(host).outcomes}
    failed = {name for name, outcome in outcomes.items() if outcome == "fail"}
    assert failed == {"group", "above", "artboard"}
    assert photoshop.open_documents == []


def test_the_guide_lists_exactly_these_checks() -> None:
    section = DOCS.read_text("utf-8").partition("## To check on a real Photoshop")[2]
    assert re.findall(r"^\| `([\w-]+)` \|", section, re.M) == [check.name for check in CHECKS]
