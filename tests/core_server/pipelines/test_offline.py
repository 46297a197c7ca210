"""The environment that the worker gives itself before torch is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

CODE = (
    "import json, os; from core_server.pipelines.offline import configure; configure(); "
    "print(json.dumps(dict(os.environ)))"
)


def configured(**given: str) -> dict[str, str]:
    """What a process has that was started with these variables and no others for OpenMP."""
    inherited = {name: value for name, value in os.environ.items() if "OMP_" not in name}
    told = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**inherited, **given},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(told.stdout)


@pytest.mark.parametrize(
    ("given", "policy", "turns"),
    [
        ({}, "PASSIVE", "300"),
        ({"GOMP_SPINCOUNT": "7"}, "PASSIVE", "7"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE", None),
    ],
    ids=["ours", "other-turns", "a-machine-that-only-paints"],
)
def test_threads_that_wait(given: dict[str, str], policy: str, turns: str | None) -> None:
    environment = configured(**given)
    assert environment["OMP_WAIT_POLICY"] == policy
    assert environment.get("GOMP_SPINCOUNT") == turns


def test_offline_is_a_promise_and_not_a_default() -> None:
    environment = configured(HF_HUB_OFFLINE="0", TRANSFORMERS_OFFLINE="0")
    assert environment["HF_HUB_OFFLINE"] == environment["TRANSFORMERS_OFFLINE"] == "1"
