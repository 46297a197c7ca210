"""One tiny runtime for all tests of the room; the stock pipelines to compare it with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from core_server.canvas.pixels import ColorSpace, Pixels
from core_server.pipelines import offline

offline.configure()

import diffusers  # noqa: E402  reads the environment just set
import torch  # noqa: E402

from core_server.pipelines.runtime import create_runtime  # noqa: E402
from core_server.pipelines.schedulers import SCHEDULERS  # noqa: E402
from core_server.pipelines.tiny import make_tiny_pipeline  # noqa: E402

# Pictures this small gain nothing from threads, waiting threads hinder whoever shares the machine, and how a sum is
# divided among threads decides its last bits.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return create_runtime("tiny", "cpu", tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def stock() -> Any:
    """Makes a stock diffusers pipeline of a class with the tiny model's components and a named scheduler."""
    base = make_tiny_pipeline()

    def make(class_name: str, scheduler: str) -> Any:
        pipeline = getattr(diffusers, class_name)(**base.components, requires_safety_checker=False)
        choice = SCHEDULERS[scheduler]
        pipeline.scheduler = getattr(diffusers, choice.class_name).from_config(
            base.scheduler.config, **choice.settings
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    return make


def picture(
    width: int,
    height: int,
    channels: int = 3,
    dtype: str = "uint8",
    space: ColorSpace = ColorSpace.SRGB,
) -> Pixels:
    """Smooth colours and a little noise, made from the arguments alone."""
    rng = np.random.default_rng(width * 1000 + height)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    planes = [0.5 + 0.4 * np.sin(3 * x + k) * np.cos(2 * y - k) for k in range(channels)]
    values = np.stack(planes, axis=-1) + rng.random((height, width, channels)) * 0.05
    if np.dtype(dtype).kind == "u":
        return Pixels((values * np.iinfo(dtype).max).round().astype(dtype), space)
    return Pixels(values.astype(dtype), space)


def quiet(_: Any) -> None:
    """A step callback that goes on."""
