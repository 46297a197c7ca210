"""The other side of the server suite: makes the call once for every line on stdin, prints its seconds.

A process of its own, because the command is to stay free of torch.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core_server.benchmarks.job import PROMPT, SEED, SIDE, STEPS, STRENGTH
from core_server.canvas.pixels import Pixels
from core_server.pipelines.request import ImageToImage, Parameters
from core_server.pipelines.runtime import create_runtime
from core_server.pipelines.task import StepProgress

Call = Callable[[npt.NDArray[np.uint8]], Any]


def main(argv: list[str] | None = None) -> None:
    """Runs until stdin closes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=("scumble", "diffusers"))
    parser.add_argument("model")
    parser.add_argument("device")
    parser.add_argument("--side", type=int, default=SIDE)
    options = parser.parse_args(argv)
    random = np.random.default_rng(SEED)
    with tempfile.TemporaryDirectory() as folder:
        make = _our_runtime if options.way == "scumble" else _stock_pipeline
        call = make(options.model, options.device, Path(folder))
        for _ in sys.stdin:
            shape = (options.side, options.side, 4)
            array = random.integers(0, 256, shape, dtype=np.uint8)
            array[..., 3] = 255
            start = time.perf_counter()
            call(array)
            print(time.perf_counter() - start, flush=True)  # noqa: T201  the protocol


def _our_runtime(model: str, device: str, folder: Path) -> Call:
    """The very runtime that the worker has."""
    runtime = create_runtime(model, device, folder)
    parameters = Parameters(prompt=PROMPT, num_inference_steps=STEPS, seed=SEED, model=model)
    request = ImageToImage(parameters=parameters, image="picture", strength=STRENGTH)
    return lambda array: runtime.run(request, {"picture": Pixels(array)}, _ignore)


def _stock_pipeline(model: str, device: str, folder: Path) -> Call:
    """Diffusers' own image-to-image pipeline, unmodified and eager, on the same weights.

    Same dtype, scheduler, guidance and steps as the model's profile says; safety checker off on both
    sides.
    """
    import torch  # noqa: PLC0415
    from diffusers import AutoPipelineForImage2Image, DiffusionPipeline  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415

    from core_server.pipelines.catalogue import Catalogue, profile_of  # noqa: PLC0415
    from core_server.pipelines.devices import choose_device, dtype_for  # noqa: PLC0415
    from core_server.pipelines.families.registry import FAMILIES  # noqa: PLC0415
    from core_server.pipelines.schedulers import make_scheduler  # noqa: PLC0415
    from core_server.pipelines.tiny import make_tiny_pipeline  # noqa: PLC0415

    target = choose_device(device)
    files = Catalogue(model, folder).find(model)
    profile = profile_of(files)
    dtype = dtype_for(target, FAMILIES[profile.family].half)
    if files.path is None:
        whole: Any = make_tiny_pipeline()
    else:
        whole = DiffusionPipeline.from_pretrained(files.path, torch_dtype=dtype)
    pipeline = AutoPipelineForImage2Image.from_pipe(whole).to(target, dtype)
    pipeline.scheduler = make_scheduler(profile.scheduler, pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)

    def call(array: npt.NDArray[np.uint8]) -> Any:
        generator = torch.Generator().manual_seed(SEED)
        return pipeline(
            PROMPT, image=Image.fromarray(array[..., :3]), strength=STRENGTH,
            num_inference_steps=STEPS, guidance_scale=profile.guidance_scale, generator=generator,
            output_type="np",
        )  # fmt: skip

    return call


def _ignore(progress: StepProgress) -> None:
    """Nobody watches."""


if __name__ == "__main__":
    main()
