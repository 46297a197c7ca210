"""The heap keeps what the next picture needs again."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import pytest
import torch

from core_server import heap
from core_server.pipelines import devices

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


class Model:
    """Refers to itself, as models do."""

    def __init__(self) -> None:
        self.itself = self


def test_what_is_settled_still_gives_its_memory_back() -> None:
    model = Model()
    left = weakref.ref(model)
    heap.settle()
    del model
    gc.collect()
    assert left() is not None, "nobody looks for it in the midst of a picture"
    devices.give_back(torch.device("cpu"))
    assert left() is None
    assert gc.get_freeze_count() == 0
