"""A short run of the crash harness; `python -m tests.crash --rounds 200` is the long one."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.crash.harness import FAULTS, Report, Round

pytestmark = pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX")

CASES = [(fault, "") for fault in sorted(set(FAULTS) - {"at a step"})] + [
    ("at a step", step)
    for step in (
        "blob.opened",
        "insert.written",
        "insert.committed",
        "update.written",
        "results.kept",
    )
]


@pytest.mark.parametrize(("fault", "step"), CASES, ids=[" ".join(case).strip() for case in CASES])
def test_every_promise_holds_after(tmp_path: Path, fault: str, step: str) -> None:
    data_dir = tmp_path / "round" / "data"
    data_dir.mkdir(parents=True)
    Round(data_dir, random.Random(f"{fault} {step}"), Report()).run(fault, step)
