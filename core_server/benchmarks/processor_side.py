"""One side of the processor suite: paints the picture once for every line on stdin, prints its seconds.

"served" is the very runtime that the worker has. "stock" is diffusers' own pipeline, eager and unmodified, on the same
weights (few-step ones included), with the same start, steps, guidance, scheduler and seed, as PyTorch sets itself up.
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

from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import Pixels
from core_server.pipelines.request import ImageToImage, Parameters, StructureStart, TextToImage

PROMPT, SEED, STRENGTH = "a lovely day", 7, 0.6

Array = npt.NDArray[Any]
Paint = Callable[[Array | None], Array]
"""From a picture, or from noise; (side, side, 3) uint8."""


def main(argv: list[str] | None = None) -> None:
    """Runs until stdin closes; the last picture is left in `picture`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=("served", "stock"))
    parser.add_argument("model")
    parser.add_argument("start", choices=("noise", "picture"))
    parser.add_argument("side", type=int)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args(argv)
    random = np.random.default_rng(SEED)
    with tempfile.TemporaryDirectory() as folder:
        make = served if options.way == "served" else stock
        paint = make(options.model, options.side, Path(folder))
        for _ in sys.stdin:
            # A new one each time: the worker would not encode the same one twice.
            given = random.integers(0, 256, (options.side, options.side, 3), np.uint8)
            start = time.perf_counter()
            picture = paint(given if options.start == "picture" else None)
            print(time.perf_counter() - start, flush=True)  # noqa: T201  the protocol
            np.save(options.picture, picture)


def served(model: str, side: int, folder: Path) -> Paint:
    """By our runtime."""
    from core_server.pipelines.runtime import create_runtime  # noqa: PLC0415

    runtime = create_runtime(model, "cpu", folder)
    parameters = Parameters(prompt=PROMPT, seed=SEED, structure=StructureStart.NOISE)
    from_noise = TextToImage(parameters=parameters, extent=Extent(side, side))
    from_picture = ImageToImage(parameters=parameters, image="it", strength=STRENGTH)

    def paint(given: Array | None) -> Array:
        images = {} if given is None else {"it": Pixels(given)}
        request = from_noise if given is None else from_picture
        return runtime.run(request, images, lambda _: None)[0].pixels.array

    return paint


def stock(model: str, side: int, folder: Path) -> Paint:
    """By diffusers' pipelines."""
    import torch  # noqa: PLC0415

    from core_server.pipelines.catalogue import Catalogue  # noqa: PLC0415
    from core_server.pipelines.denoise import as_tensor  # noqa: PLC0415
    from core_server.pipelines.few_step import with_few_steps  # noqa: PLC0415
    from core_server.pipelines.loader import load_model  # noqa: PLC0415

    files = Catalogue(model, folder).find(model)
    loaded = load_model(files, torch.device("cpu"))
    loaded.folder = files.path
    loaded = with_few_steps(loaded, Parameters(prompt=PROMPT))
    profile = loaded.profile

    def paint(given: Array | None) -> Array:
        task: str = "text_to_image"
        start: dict[str, Any] = {"width": side, "height": side}
        if given is not None:
            image = as_tensor(np.asarray(given / np.float32(255), np.float32))
            task, start = "image_to_image", {"image": image, "strength": STRENGTH}
        picture = loaded.pipeline(task, profile.scheduler)(
            prompt=PROMPT,
            num_inference_steps=profile.num_inference_steps,
            guidance_scale=profile.guidance_scale,
            generator=torch.Generator().manual_seed(SEED),
            output_type="np",
            **start,
        ).images[0]
        return np.asarray(np.rint(picture * 255), np.uint8)

    return paint


if __name__ == "__main__":
    main()
