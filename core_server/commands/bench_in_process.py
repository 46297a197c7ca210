"""The other side of `scumble bench`: makes the call once for every line on stdin and prints its seconds."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from core_server.canvas.pixels import Pixels
from core_server.commands.bench import SEED, SIDE, STEPS, STRENGTH
from core_server.pipelines.request import ImageToImage, Parameters
from core_server.pipelines.runtime import create_runtime
from core_server.pipelines.task import StepProgress


def main(model: str, device: str) -> None:
    """Runs until stdin closes."""
    random = np.random.default_rng(SEED)
    with tempfile.TemporaryDirectory() as folder:
        runtime = create_runtime(model, device, Path(folder))
        parameters = Parameters(prompt="stone", num_inference_steps=STEPS, seed=SEED, model=model)
        request = ImageToImage(parameters=parameters, image="picture", strength=STRENGTH)
        for _ in sys.stdin:
            array = random.integers(0, 256, (SIDE, SIDE, 4), dtype=np.uint8)
            array[..., 3] = 255
            start = time.perf_counter()
            runtime.run(request, {"picture": Pixels(array)}, _ignore)
            print(time.perf_counter() - start, flush=True)


def _ignore(progress: StepProgress) -> None:
    """Nobody watches."""


if __name__ == "__main__":
    main(*sys.argv[1:])
