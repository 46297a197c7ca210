"""A few other families through the whole server: the same bits as their stock diffusers pipelines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch

from scumble import client as scumble
from tests.core_server.pipelines.tiny_families import save_tiny_family
from tests.real_server import running_server

NAMES = ("stable_diffusion_3", "flux_2_klein", "z_image")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    for name in NAMES:
        save_tiny_family(name, data / "models" / name)
    return data


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[scumble.Client]:
    # The order of a sum, and so its last bit, depends on the number of threads: one on both sides.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        with (
            running_server(folder, model=NAMES[0]) as server,
            scumble.connect(server.address, token=server.token) as connected,
        ):
            yield connected
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", NAMES)
def test_text_to_image(client: scumble.Client, folder: Path, name: str) -> None:
    request = scumble.TextToImage(
        prompt="mossy cobblestone",
        model=name,
        width=64,
        height=96,
        seed=11,
        num_inference_steps=2,
        guidance_scale=3.0,
    )
    (patch,) = client.submit(request).result(timeout=120)
    stock = diffusers.DiffusionPipeline.from_pretrained(folder / "models" / name)
    stock.set_progress_bar_config(disable=True)
    (expected,) = stock(
        prompt="mossy cobblestone",
        width=64,
        height=96,
        num_inference_steps=2,
        guidance_scale=3.0,
        generator=torch.Generator("cpu").manual_seed(11),
        output_type="np",
    ).images
    np.testing.assert_array_equal(patch.pixels.numpy(), (expected * 255).round().astype(np.uint8))
    assert patch.recipe["model_family"] == name
    assert patch.recipe["memory"] == "resident"
