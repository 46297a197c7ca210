"""ControlNet: equal to the stock pipelines bit for bit, refused with the way out where none is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import Pixels
from core_server.errors import InvalidRequest
from core_server.pipelines.control_files import ControlShelf
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.request import (
    ControlImage,
    ControlKind,
    ImageToImage,
    Inpaint,
    Parameters,
    TextToImage,
)
from core_server.pipelines.tiny import make_tiny_pipeline
from tests.core_server.pipelines.conftest import picture, quiet

SIDE, STEPS = 64, 2
DEPTH, LINE = ControlKind.DEPTH, ControlKind.LINE


def network(seed: int) -> Any:
    """A ControlNet for the tiny model whose outputs are not zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = diffusers.ControlNetModel.from_unet(
            make_tiny_pipeline().unet, conditioning_channels=3
        )
        for block in (
            *made.controlnet_down_blocks,
            made.controlnet_mid_block,
            made.controlnet_cond_embedding.conv_out,
        ):
            torch.nn.init.normal_(block.weight, std=0.3)
    return made.eval()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    network(1).save_pretrained(folder / "controls" / "tiny-depth")
    network(2).save_pretrained(folder / "controls" / "tiny-canny")
    return folder


@pytest.fixture(scope="module")
def runtime(data_dir: Path) -> LocalRuntime:
    return LocalRuntime("tiny", "cpu", data_dir)


def parameters(*controls: tuple[ControlKind, float]) -> Parameters:
    images = tuple(
        ControlImage(kind=kind, image=f"c{k}", weight=weight)
        for k, (kind, weight) in enumerate(controls)
    )
    return Parameters(prompt="moss", num_inference_steps=STEPS, seed=3, control_images=images)


def control(k: int, extent: tuple[int, int] = (SIDE, SIDE)) -> Pixels:
    return Pixels(np.ascontiguousarray(np.rot90(picture(*extent).array, k)))


def stock(name: str, networks: list[Any], **arguments: Any) -> np.ndarray:
    parts = {k: v for k, v in make_tiny_pipeline().components.items() if k != "image_encoder"}
    nets = networks[0] if len(networks) == 1 else networks
    pipeline = getattr(diffusers, name)(**parts, controlnet=nets, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    [image] = pipeline(
        "moss",
        num_inference_steps=STEPS,
        guidance_scale=5.0,
        generator=torch.Generator("cpu").manual_seed(3),
        output_type="np",
        **arguments,
    ).images
    return (image * 255).round().astype(np.uint8)


def tensor(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy(pixels.array.astype(np.float32) / 255).permute(2, 0, 1)[None]


def test_text_to_image_with_two_networks(runtime: LocalRuntime) -> None:
    wanted = parameters((DEPTH, 0.9), (LINE, 0.4))
    images = {"c0": control(0), "c1": control(1)}
    request = TextToImage(parameters=wanted, extent=Extent(SIDE, SIDE))
    [output] = runtime.run(request, images, quiet)
    expected = stock(
        "StableDiffusionControlNetPipeline",
        [network(1), network(2)],
        image=[tensor(control(0)), tensor(control(1))],
        controlnet_conditioning_scale=[0.9, 0.4],
        width=SIDE,
        height=SIDE,
    )
    assert np.array_equal(output.pixels.array, expected)
    assert [it["network"] for it in output.recipe["control_images"]] == ["tiny-depth", "tiny-canny"]
    plain = TextToImage(parameters=parameters(), extent=Extent(SIDE, SIDE))
    [without] = runtime.run(plain, {}, quiet)
    assert not np.array_equal(without.pixels.array, output.pixels.array)


def test_image_to_image(runtime: LocalRuntime) -> None:
    images = {"c0": control(1), "i": picture(SIDE, SIDE)}
    request = ImageToImage(parameters=parameters((DEPTH, 1.0)), image="i", strength=1.0)
    [output] = runtime.run(request, images, quiet)
    expected = stock(
        "StableDiffusionControlNetImg2ImgPipeline",
        [network(1)],
        image=tensor(images["i"]),
        control_image=tensor(control(1)),
        controlnet_conditioning_scale=1.0,
        strength=1.0,
    )
    assert np.array_equal(output.pixels.array, expected)


def test_inpaint_takes_the_part_that_is_painted(runtime: LocalRuntime) -> None:
    """A control picture of the whole document acts as the same picture cut to the context."""
    document = picture(160, 128)
    selection = np.zeros((128, 160, 1), np.uint8)
    selection[60:90, 90:130] = 255
    images = {"i": document, "s": Pixels(selection), "c0": control(0, (160, 128))}
    request = Inpaint(parameters=parameters((DEPTH, 1.0)), image="i", selection="s")
    [whole] = runtime.run(request, images, quiet)
    [without] = runtime.run(
        Inpaint(parameters=parameters(), image="i", selection="s"), images, quiet
    )
    assert not np.array_equal(whole.pixels.array, without.pixels.array)
    context = whole.plan.context
    cut = (slice(context.y, context.bottom), slice(context.x, context.right))
    parts = {name: Pixels(np.ascontiguousarray(it.array[cut])) for name, it in images.items()}
    planned = Inpaint(
        parameters=parameters((DEPTH, 1.0)), image="i", selection="s", plan=whole.plan
    )
    [again] = runtime.run(planned, parts, quiet)
    assert np.array_equal(again.pixels.array, whole.pixels.array)
    with pytest.raises(InvalidRequest, match="must cover the whole document"):
        runtime.run(request, images | {"c0": control(0, (40, 40))}, quiet)


def test_what_is_not_installed_is_refused_with_the_way_out(
    runtime: LocalRuntime, tmp_path: Path
) -> None:
    request = TextToImage(parameters=parameters((ControlKind.TILE, 1.0)), extent=Extent(SIDE, SIDE))
    with pytest.raises(InvalidRequest, match=r"No ControlNet for tile.*models install sd15-tile"):
        runtime.run(request, {"c0": control(0)}, quiet)
    assert ControlShelf(tmp_path).all() == ()


def test_a_union_knows_its_kinds(tmp_path: Path) -> None:
    for name, types in (("plain", 6), ("promax", 8)):
        folder = tmp_path / "controls" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(
            f'{{"_class_name": "ControlNetUnionModel", "num_control_type": {types}, "cross_attention_dim": 2048}}'
        )
    plain, promax = ControlShelf(tmp_path).all()
    assert ControlKind.TILE not in plain.kinds
    assert set(promax.kinds) == set(ControlKind)
    both = ControlShelf(tmp_path).choose([DEPTH, ControlKind.INPAINT], 2048, "x", "X")
    assert {it.name for it in both} == {"promax"}
