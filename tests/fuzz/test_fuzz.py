"""Short runs of the fuzzers; `python -m tests.fuzz` is the long one."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.inside import fuzz_decoders, fuzz_planner
from tests.fuzz.wire import fuzz_wire


def test_calls_over_the_wire(tmp_path: Path) -> None:
    report = fuzz_wire(tmp_path, calls=800, seed=1)
    assert report.broken == []
    assert report.codes["OK"] > 20, "it must get past the first checks"
    assert report.memory[-1] - report.memory_warm < 16 << 20, str(report)


def test_damaged_files() -> None:
    told = fuzz_decoders(cases=600, seed=1)
    assert told["refused"] > 100
    assert told["decoded"] > 20


def test_impossible_documents() -> None:
    told = fuzz_planner(cases=1000, seed=1)
    assert min(told["planned"], told["refused"]) > 50
