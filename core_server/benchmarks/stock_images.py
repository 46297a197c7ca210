"""The other side of the suite `images`: stock diffusers, eager, on the same weights.

    python -m core_server.benchmarks.stock_images CASE FOLDER DEVICE SIDE STEPS KEEP

Paints one picture for every line on stdin and prints its seconds; the first is kept as KEEP (.npy). A process of its
own, because the command is to stay free of torch.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import diffusers
import numpy as np
import torch

from core_server.benchmarks.image_cases import CASES, PROMPT, SEED


def main(argv: list[str] | None = None) -> None:
    """Runs until stdin closes."""
    name, folder, device, side, steps, keep = sys.argv[1:] if argv is None else argv
    case = CASES[name]
    diffusers.utils.logging.disable_progress_bar()
    dtype = torch.float32 if device == "cpu" else getattr(torch, case.half)
    pipeline = getattr(diffusers, case.pipeline).from_pretrained(folder, dtype=dtype)
    pipeline.to(device)
    pipeline.set_progress_bar_config(disable=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        picture = pipeline(
            prompt=PROMPT, width=int(side), height=int(side), num_inference_steps=int(steps),
            guidance_scale=case.guidance_scale, output_type="np",
            generator=torch.Generator("cpu").manual_seed(SEED),
        ).images[0]  # fmt: skip
        seconds = time.perf_counter() - start
        if not Path(keep).exists():
            np.save(keep, picture)
        print(seconds, flush=True)  # noqa: T201  the protocol


if __name__ == "__main__":
    main()
