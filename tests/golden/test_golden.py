"""The golden set is what the canvas does today. README.md says how to renew it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.golden.golden import CASES, make, names, plan_text, read

TOLERANCE = {"uint8": 2, "uint16": 2 * 257}


@pytest.mark.parametrize("name", names())
def test_golden(name):
    plan, composite = make(CASES / name)
    assert plan_text(plan) == (CASES / name / "plan.json").read_text()
    kept, document = read(CASES / name / "composite.png"), read(CASES / name / "document.png")
    assert (composite.shape, composite.dtype) == (kept.shape, kept.dtype)
    difference = np.abs(composite.astype(int) - kept.astype(int))
    assert difference.max() <= TOLERANCE[kept.dtype.name]
    assert (kept != document).any(), "something was painted"
