"""Short runs; `python -m tests.soak` has the long ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.soak.load import run_load
from tests.soak.mix import run_mix
from tests.soak.soak import run_soak


@pytest.mark.skipif(os.name == "nt", reason="counts file handles")
def test_jobs_leave_nothing_behind(tmp_path: Path) -> None:
    report = run_soak(tmp_path, jobs=30, model="tiny", size=32, seed=1)
    assert report.jobs == 30
    leaks = [it for it in report.broken if "%" not in it]  # memory settles only after more jobs
    assert leaks == []


@pytest.mark.skipif(os.name == "nt", reason="counts file handles")
def test_nothing_of_a_job_stays_on_a_model(tmp_path: Path) -> None:
    report = run_mix(tmp_path, jobs=12, seed=2)
    assert [it for it in report.broken if "%" not in it] == []
    assert (report.jobs, report.repeated) == (12, 5)


def test_many_clients_lose_nothing(tmp_path: Path) -> None:
    report = run_load(tmp_path, clients=16, jobs=3)
    assert report.broken == []
    assert len(report.creating) == 48
