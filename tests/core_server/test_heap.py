"""The heap keeps what the next picture needs again."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource
import numpy as np
from core_server.heap import WORKER_BLOCK_BYTES, WORKER_KEPT_BYTES, reuse_blocks

assert reuse_blocks(WORKER_BLOCK_BYTES, WORKER_KEPT_BYTES)
def picture():
    blocks = [np.ones((1024, 1024, 3), np.float32) for _ in range(3)]
for _ in range(3):
    picture()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
picture()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_memory_of_the_picture_before_serves_the_next_one() -> None:
    outcome = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True
    )
    pages = 3 * 1024 * 1024 * 3 * 4 // 4096
    assert int(outcome.stdout) < pages // 10
