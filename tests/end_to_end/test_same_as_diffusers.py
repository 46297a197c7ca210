"""Through the server or in this process: the same seed, model and settings give the same bits.

The right-hand side of every comparison is a stock diffusers pipeline called as its documentation says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
)

from core_server.pipelines.tiny import make_tiny_pipeline
from scumble import client as scumble
from tests.real_server import running_server

SETTINGS: dict[str, Any] = {"num_inference_steps": 5, "guidance_scale": 3.0}
PROMPT, NEGATIVE = "mossy cobblestone", "snow"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[scumble.Client]:
    # The order of a sum, and so its last bit, depends on the number of threads: one on both sides.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        with (
            running_server(tmp_path_factory.mktemp("data")) as server,
            scumble.connect(server.address, token=server.token) as connected,
        ):
            yield connected
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """(64, 96, 3) uint8."""
    rows, columns = np.mgrid[0:64, 0:96]
    return np.stack([rows * 3, columns * 2, 255 - rows], axis=-1).astype(np.uint8)


def generator(seed: int) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(seed)


def as_uint8(image: np.ndarray) -> np.ndarray:
    """diffusers' own rounding of (1, height, width, 3) floats 0..1."""
    return (image[0] * 255).round().astype(np.uint8)


def test_text_to_image(client: scumble.Client) -> None:
    request = scumble.TextToImage(
        prompt=PROMPT, negative_prompt=NEGATIVE, width=96, height=64, seed=11, count=2, **SETTINGS
    )
    patches = client.submit(request).result(timeout=300)
    pipeline = make_tiny_pipeline()
    for k, patch in enumerate(patches):
        stock = pipeline(
            PROMPT,
            negative_prompt=NEGATIVE,
            width=96,
            height=64,
            generator=generator(11 + k),
            output_type="np",
            **SETTINGS,
        ).images
        np.testing.assert_array_equal(patch.pixels.numpy(), as_uint8(stock))
    assert [patch.seed for patch in patches] == [11, 12]


def test_named_scheduler(client: scumble.Client) -> None:
    request = scumble.TextToImage(
        prompt=PROMPT, width=64, height=64, seed=3, scheduler="dpmpp_2m_karras", **SETTINGS
    )
    [patch] = client.submit(request).result(timeout=300)
    pipeline = make_tiny_pipeline()
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(
        pipeline.scheduler.config, use_karras_sigmas=True
    )
    stock = pipeline(
        PROMPT, width=64, height=64, generator=generator(3), output_type="np", **SETTINGS
    ).images
    np.testing.assert_array_equal(patch.pixels.numpy(), as_uint8(stock))


def test_image_to_image(client: scumble.Client, picture: np.ndarray) -> None:
    image = scumble.Pixels.from_numpy(picture, scumble.ColorSpace.SRGB)
    request = scumble.ImageToImage(prompt=PROMPT, image=image, strength=0.6, seed=5, **SETTINGS)
    [patch] = client.submit(request).result(timeout=300)
    stock = StableDiffusionImg2ImgPipeline(
        **make_tiny_pipeline().components, requires_safety_checker=False
    )(
        PROMPT,
        image=picture[None].astype(np.float32) / 255,
        strength=0.6,
        generator=generator(5),
        output_type="np",
        **SETTINGS,
    ).images
    np.testing.assert_array_equal(patch.pixels.numpy(), as_uint8(stock))
    assert patch.recipe["steps_run"] == 3


def test_inpaint(client: scumble.Client, picture: np.ndarray) -> None:
    """Everything selected, no prefill, not enlarged for detail: the patch is the stock pipeline's picture, untouched by
    canvas work."""
    selection = np.full((64, 96, 1), 255, np.uint8)
    options = scumble.CanvasOptions(fill=scumble.FillMode.NONE, exact_selection=True)
    plan = client.plan(
        scumble.Extent(96, 64), scumble.Bounds(0, 0, 96, 64), strength=0.8, options=options
    )
    plan = dataclasses.replace(plan, model=scumble.Extent(96, 64), sizing=scumble.ModelSizing.AS_IS)
    request = scumble.Inpaint(
        prompt=PROMPT,
        image=scumble.Pixels.from_numpy(picture, scumble.ColorSpace.SRGB),
        selection=scumble.Pixels.from_numpy(selection, scumble.ColorSpace.NON_COLOR),
        strength=0.8,
        plan=plan,
        seed=9,
        **SETTINGS,
    )
    [patch] = client.submit(request).result(timeout=300)
    stock = StableDiffusionInpaintPipeline(
        **make_tiny_pipeline().components, requires_safety_checker=False
    )(
        PROMPT,
        image=picture[None].astype(np.float32) / 255,
        mask_image=np.ones((1, 64, 96, 1), np.float32),
        width=96,
        height=64,
        strength=0.8,
        generator=generator(9),
        output_type="np",
        **SETTINGS,
    ).images
    assert patch.bounds == scumble.Bounds(0, 0, 96, 64)
    np.testing.assert_array_equal(patch.pixels.numpy(), as_uint8(stock))


def test_repeating_is_exact(client: scumble.Client, tmp_path: Path) -> None:
    request = scumble.TextToImage(prompt=PROMPT, width=50, height=70, seed=1, **SETTINGS)
    first, second = (client.submit(request).result(timeout=300)[0].pixels for _ in range(2))
    assert (first.width, first.height) == (50, 70)
    assert first.tobytes() == second.tobytes()
