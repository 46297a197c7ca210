"""Every family and task through the whole server: the same bits as diffusers' stock pipeline, where it has one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core_server.canvas.geometry import Extent
from core_server.canvas.plan import SeamlessAxes
from core_server.pipelines.denoise import resized
from core_server.pipelines.families.registry import FAMILIES
from core_server.pipelines.folder import read_folder
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.request import ControlImage, ControlKind, ReferenceImage
from scumble import client as scumble
from tests.core_server.pipelines.conftest import picture, quiet
from tests.core_server.pipelines.test_families import (
    BUILT,
    HEIGHT,
    SEED,
    STEPS,
    STOCK_TASKS,
    WIDTH,
    ask,
    selection,
    stock,
)
from tests.core_server.pipelines.tiny_families import save_tiny_family
from tests.real_server import running_server

LAST_BIT = {"sana": 1}
"""Where numbers lie in memory decides the last bits of its small layers; test_families.py compares the same objects."""
NAMES = list(FAMILIES)


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


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> Any:
    """Reads a family's folder as the server does, into a stock pipeline; the last one is kept."""
    kept: dict[str, Any] = {}

    def read(name: str) -> Any:
        if name not in kept:
            kept.clear()
            kept[name] = read_folder(folder / "models" / name, FAMILIES[name], torch.float32)
        return kept[name]

    return read


def asked(client: scumble.Client, name: str, task: str) -> scumble.Request:
    """All of the picture is selected in an inpaint, so that nothing of the canvas work shows."""
    common: dict[str, Any] = {
        "negative_prompt": "blue",
        "model": name,
        "num_inference_steps": STEPS,
        "guidance_scale": 3.0,
        "seed": SEED,
    }
    if task == "text_to_image":
        return scumble.TextToImage("red bricks", WIDTH, HEIGHT, **common)
    image = picture(WIDTH, HEIGHT)
    pixels = scumble.Pixels.from_numpy(image.array, scumble.ColorSpace.SRGB)
    if task == "image_to_image":
        return scumble.ImageToImage("red bricks", pixels, 0.6, **common)
    options = scumble.CanvasOptions(
        fill=scumble.FillMode.NONE, exact_selection=True, color_match=0.0
    )
    document = scumble.Extent(WIDTH, HEIGHT)
    plan = client.plan(
        document, scumble.Bounds(0, 0, WIDTH, HEIGHT), strength=0.6, options=options, model=name
    )
    plan = dataclasses.replace(plan, model=document, sizing=scumble.ModelSizing.AS_IS)
    selection = scumble.Pixels.mask(bytes([255]) * (WIDTH * HEIGHT), WIDTH, HEIGHT)
    return scumble.Inpaint("red bricks", pixels, selection, 0.6, plan=plan, **common)


@pytest.mark.parametrize(("name", "task"), STOCK_TASKS, ids=lambda it: it)
def test_the_server_paints_what_diffusers_paints(
    client: scumble.Client, pipeline: Any, name: str, task: str
) -> None:
    (patch,) = client.submit(asked(client, name, task)).result(timeout=300)
    expected = stock(name, task, pipeline(name), patch.recipe["scheduler"], whole=True)
    expected = resized(expected, Extent(WIDTH, HEIGHT), SeamlessAxes.NONE)
    found = patch.pixels.numpy()
    wanted = (expected * 255).round().astype(np.uint8)
    assert np.abs(found.astype(int) - wanted).max() <= LAST_BIT.get(name, 0)
    assert (patch.recipe["model_family"], patch.recipe["memory"]) == (name, "resident")


@pytest.mark.parametrize(("name", "task"), BUILT, ids=lambda it: it)
def test_what_diffusers_lacks_is_the_same_through_the_server(
    client: scumble.Client, folder: Path, name: str, task: str
) -> None:
    """As the runtime paints it in this process."""
    request = asked(client, name, task)
    if isinstance(request, scumble.Inpaint):
        options = scumble.CanvasOptions(exact_selection=True, color_match=0.0)
        mask = scumble.Pixels.mask(selection().tobytes(), WIDTH, HEIGHT)
        request = dataclasses.replace(request, selection=mask, plan=None, options=options)
    (patch,) = client.submit(request).result(timeout=300)
    own, images = ask(task)
    (expected,) = LocalRuntime(name, "cpu", folder).run(own, images, quiet)
    assert expected.recipe["steps_run"] == patch.recipe["steps_run"] >= 1
    difference = patch.pixels.numpy().astype(int) - expected.pixels.array
    assert np.abs(difference).max() <= LAST_BIT.get(name, 0)


@pytest.mark.parametrize("name", ["flux_control", "flux_2_klein", "qwen_image_edit_plus"])
def test_pictures_beside_the_words_go_through_the_server(
    client: scumble.Client, folder: Path, name: str
) -> None:
    """Control and reference images of models that look themselves: as the runtime paints in this process."""
    family = FAMILIES[name]
    look = picture(WIDTH, HEIGHT)
    pixels = scumble.Pixels.from_numpy(look.array, scumble.ColorSpace.SRGB)
    more: dict[str, Any] = {"reference_images": (scumble.ReferenceImage(pixels),)}
    own: dict[str, Any] = {"reference_images": (ReferenceImage(image="look"),)}
    if family.controls_itself:
        more = {"control_images": (scumble.ControlImage(scumble.ControlKind.DEPTH, pixels),)}
        own = {"control_images": (ControlImage(kind=ControlKind.DEPTH, image="look"),)}
    request = dataclasses.replace(asked(client, name, "text_to_image"), **more)
    (found,) = client.submit(request).result(timeout=300)
    wanted, _ = ask("text_to_image", **own)
    (expected,) = LocalRuntime(name, "cpu", folder).run(wanted, {"look": look}, quiet)
    assert (found.pixels.numpy() == expected.pixels.array).all()
    told = "control_images" if family.controls_itself else "reference_images"
    assert len(found.recipe[told]) == 1
