"""Rows, verdicts, and the line that goes into the documentation."""

from __future__ import annotations

import json

import pytest

from core_server.benchmarks.report import Report, Row, Target, at_least, at_most


@pytest.mark.parametrize(
    ("value", "target", "passed"),
    [
        (1.0, at_most(1.0), True),
        (1.01, at_most(1.0), False),
        (90.0, at_least(90), True),
        (89.9, at_least(90), False),
        (5.0, None, None),
        (None, at_most(1.0), None),
    ],
)
def test_verdict(value: float | None, target: Target | None, passed: bool | None) -> None:
    assert Row("x", value, target=target).passed is passed


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.012345, "s", "0.01235 s"),
        (1.0, "", "1"),
        (123456.0, "MB", "123456 MB"),
        (None, "s", "-"),
    ],
)
def test_figures_are_short(value: float | None, unit: str, shown: str) -> None:
    assert Row("x", value, unit).shown == shown


def test_report_prints_and_keeps_everything(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        Row("speed", 2.0, "s", at_most(1.0), headline=True),
        Row("size", None, note="no scales"),
    ]
    report = Report(
        "demo", "scumble bench --suite demo", "a machine", rows, {"seed": 1}, "2026-01-02"
    )
    report.print()
    printed = capsys.readouterr().out
    assert "fail" in printed and "no scales" in printed
    assert "| a machine | `scumble bench --suite demo` | speed 2 s | 2026-01-02 |" in printed
    saved = json.loads(json.dumps(report.as_json()))
    assert [row["passed"] for row in saved["rows"]] == [False, None]
    assert saved["details"] == {"seed": 1}
