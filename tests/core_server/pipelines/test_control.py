"""ControlNet: equal to the stock pipelines bit for bit, refused with the way out where none is installed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import diffusers
import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import Pixels
from core_server.canvas.plan import SeamlessAxes
from core_server.errors import InvalidRequest, ModelLoadFailed
from core_server.pipelines import control_networks
from core_server.pipelines.control_files import ControlShelf
from core_server.pipelines.control_single_file import read_control_file
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.request import (
    ControlImage,
    ControlKind,
    ImageToImage,
    Inpaint,
    Parameters,
    TextToImage,
)
from core_server.pipelines.seamless import seamless
from core_server.pipelines.tiny import make_tiny_pipeline
from tests.core_server.pipelines.conftest import picture, quiet
from tests.core_server.pipelines.ldm_layout import RESNET, UNET, _renamed
from tests.core_server.pipelines.tiny_families import save_tiny_family

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


def weights_hash(data_dir: Path, name: str) -> str:
    weights = data_dir / "controls" / name / "diffusion_pytorch_model.safetensors"
    return hashlib.sha256(weights.read_bytes()).hexdigest()


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


def test_text_to_image_with_two_networks(runtime: LocalRuntime, data_dir: Path) -> None:
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
    told = [(it["network"], it["sha256"]) for it in output.recipe["control_images"]]
    assert told == [(name, weights_hash(data_dir, name)) for name in ("tiny-depth", "tiny-canny")]
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


def test_a_network_for_inpainting_is_shown_what_is_repainted(tmp_path: Path) -> None:
    """As its authors mark it: -1 where something new is to be."""
    network(1).save_pretrained(tmp_path / "controls" / "tiny-inpaint")
    runtime = LocalRuntime("tiny", "cpu", tmp_path)
    selection = np.zeros((SIDE, SIDE, 1), np.uint8)
    selection[16:48, 16:48] = 255
    images = {"i": picture(SIDE, SIDE), "s": Pixels(selection), "c0": picture(SIDE, SIDE)}
    wanted = parameters((ControlKind.INPAINT, 1.0))
    request = Inpaint(parameters=wanted, image="i", selection="s")
    plain = TextToImage(parameters=wanted, extent=Extent(SIDE, SIDE))
    runtime.run(plain, images, quiet)
    made = next(reversed(control_networks._loaded.values())).module
    seen: list[torch.Tensor] = []
    forward = made.forward

    def watched(*args: Any, **kwargs: Any) -> Any:
        seen.append(kwargs["controlnet_cond"])
        return forward(*args, **kwargs)

    made.forward = watched
    runtime.run(request, images, quiet)
    runtime.run(plain, images, quiet)
    hidden = seen[0][0] == -1
    assert 0 < hidden.float().mean() < 1 and bool((hidden[0] == hidden[2]).all())
    assert not (seen[-1] < 0).any()


def test_tiles_have_no_border_in_their_control(runtime: LocalRuntime) -> None:
    """The network's convolutions wrap as the UNet's do: its answer to a rolled picture is its answer, rolled."""
    wanted = parameters((DEPTH, 1.0))
    request = TextToImage(
        parameters=msgspec.structs.replace(wanted, seamless=SeamlessAxes.XY),
        extent=Extent(SIDE, SIDE),
    )
    runtime.run(request, {"c0": control(0)}, quiet)
    made = next(reversed(control_networks._loaded.values())).module
    inputs = (torch.randn(1, 4, 16, 16), torch.tensor([500]), torch.randn(1, 5, 32))
    condition = torch.rand(1, 3, 128, 128)
    with torch.no_grad(), seamless(SeamlessAxes.XY, made):
        plain = made(*inputs, condition, return_dict=False)[1]
        rolled = made(inputs[0].roll(4, 3), *inputs[1:], condition.roll(32, 3), return_dict=False)[
            1
        ]
    assert torch.allclose(plain.roll(2, 3), rolled, atol=1e-4)
    pad = made.controlnet_cond_embedding.conv_in
    assert "_conv_forward" not in vars(pad)
    seen: list[bool] = []
    forward = made.forward

    def watched(*args: Any, **kwargs: Any) -> Any:
        seen.append("_conv_forward" in vars(pad))
        return forward(*args, **kwargs)

    made.forward = watched
    runtime.run(request, {"c0": control(0)}, quiet)
    del made.forward
    assert seen and all(seen)


def as_original(module: Any) -> dict[str, torch.Tensor]:
    """A ControlNet of the tiny UNet's structure in the layout that its authors write."""
    down, zero = {}, {}
    places = iter(range(1, 99))
    for level, block in enumerate(module.down_blocks):
        for k in range(len(block.resnets)):
            place = next(places)
            down[f"down_blocks.{level}.resnets.{k}."] = f"input_blocks.{place}.0."
            down[f"down_blocks.{level}.attentions.{k}."] = f"input_blocks.{place}.1."
        if block.downsamplers:
            down[f"down_blocks.{level}.downsamplers.0.conv."] = f"input_blocks.{next(places)}.0.op."
    for k in range(len(module.controlnet_down_blocks)):
        zero[f"controlnet_down_blocks.{k}."] = f"zero_convs.{k}.0."
    hints = {"conv_in.": "0.", "conv_out.": "14."} | {
        f"blocks.{k}.": f"{2 * k + 2}." for k in range(6)
    }
    tensors = {}
    for key, tensor in module.state_dict().items():
        name = _renamed(key, down | zero | {"controlnet_mid_block.": "middle_block_out.0."})
        if key.startswith("controlnet_cond_embedding."):
            rest = key.removeprefix("controlnet_cond_embedding.")
            name = "input_hint_block." + _renamed(rest, hints)
        elif not key.startswith("down_blocks."):
            name = _renamed(name, UNET)
        if ".resnets." in key:
            name = _renamed(name, RESNET)
        tensors[f"control_model.{name}"] = tensor.contiguous()
    return tensors


@pytest.mark.parametrize("layout", ["original", "diffusers"])
def test_a_network_from_one_file(tmp_path: Path, layout: str) -> None:
    """Told by its tensors, read without a network, the same tensors as in the folder; what is none is refused."""
    made = network(5)
    tensors = as_original(made) if layout == "original" else made.state_dict()
    controls = tmp_path / "controls"
    controls.mkdir()
    path = controls / "my-depth.safetensors"
    save_file({key: it.contiguous() for key, it in tensors.items()}, path)
    read = read_control_file(path, torch.float32, make_tiny_pipeline().unet.config)
    before, after = made.state_dict(), read.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    [file] = ControlShelf(tmp_path).all()
    assert (file.name, file.kinds, file.network, file.width) == (
        "my-depth", (DEPTH,), "ControlNetModel", made.config.cross_attention_dim,
    )  # fmt: skip
    assert file.weights() == [path]
    with pytest.raises(ModelLoadFailed, match=r"no ControlNet that can be loaded from one file"):
        read_control_file(path, torch.float32)  # of a width that no published one has


def test_what_is_not_installed_is_refused_with_the_way_out(
    runtime: LocalRuntime, tmp_path: Path
) -> None:
    request = TextToImage(parameters=parameters((ControlKind.TILE, 1.0)), extent=Extent(SIDE, SIDE))
    shelf, kind = ControlShelf(tmp_path), ("ControlNetModel", 768, "stable_diffusion", "SD")
    with pytest.raises(InvalidRequest, match=r"No ControlNet for tile.*models install sd15-tile"):
        shelf.choose([ControlKind.TILE], *kind)
    (tmp_path / "controls").mkdir()
    (tmp_path / "controls" / "control_tile.pth").write_bytes(b"PK")
    with pytest.raises(
        InvalidRequest, match=r"already cannot be used: control_tile.pth is a pickle"
    ):
        shelf.choose([ControlKind.TILE], *kind)
    # As the embedded model, this one has layers that no published network fits: installing one would not help.
    with pytest.raises(InvalidRequest, match=r"Published ControlNets do not.*models install sd15`"):
        runtime.run(request, {"c0": control(0)}, quiet)
    assert shelf.all() == ()


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
    both = ControlShelf(tmp_path).choose(
        [DEPTH, ControlKind.INPAINT], "ControlNetModel", 2048, "x", "X"
    )
    assert {it.name for it in both} == {"promax"}


def test_a_union_for_sdxl_is_stock_bit_for_bit(tmp_path: Path) -> None:
    base = tmp_path / "models" / "xl"
    save_tiny_family("stable_diffusion_xl", base)
    parts = diffusers.StableDiffusionXLPipeline.from_pretrained(base).components
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        config = dict(diffusers.ControlNetUnionModel.from_unet(parts["unet"]).config)
        width = config["block_out_channels"][0]
        settings = {key: value for key, value in config.items() if not key.startswith("_")}
        widths = dict.fromkeys(("num_trans_channel", "num_proj_channel"), width)
        union = diffusers.ControlNetUnionModel(**(settings | widths))
        for block in (*union.controlnet_down_blocks, union.controlnet_mid_block):
            torch.nn.init.normal_(block.weight, std=0.3)
    union.eval().save_pretrained(tmp_path / "controls" / "union")
    runtime = LocalRuntime("xl", "cpu", tmp_path)
    wanted = msgspec.structs.replace(
        parameters((DEPTH, 0.7), (LINE, 0.7)), prompt="(moss:1.2) wall", negative_prompt="rust"
    )
    side = max(128, *runtime.load("").min_extent)
    images = {f"c{k}": control(k, (side, side)) for k in range(2)}
    request = TextToImage(parameters=wanted, extent=Extent(side, side))
    [output] = runtime.run(request, images, quiet)
    parts = {k: v for k, v in parts.items() if k not in ("image_encoder", "feature_extractor")}
    pipeline = diffusers.StableDiffusionXLControlNetUnionPipeline(
        **parts, controlnet=union, add_watermarker=False, force_zeros_for_empty_prompt=False
    )
    pipeline.set_progress_bar_config(disable=True)
    positive, negative = (_encoded(pipeline, text) for text in ("moss wall", "rust"))
    empty = _encoded(pipeline, "")
    count = len(pipeline.tokenizer("moss").input_ids) - 2
    factor = torch.ones(1, positive[0].shape[1], 1)
    factor[:, 1 : 1 + count] = 1.2
    weighted = torch.where(factor == 1, positive[0], empty[0] + (positive[0] - empty[0]) * factor)
    [image] = pipeline(
        prompt_embeds=weighted,
        pooled_prompt_embeds=positive[1],
        negative_prompt_embeds=negative[0],
        negative_pooled_prompt_embeds=negative[1],
        control_image=[tensor(it) for it in images.values()],
        control_mode=[1, 3],
        controlnet_conditioning_scale=[0.7, 0.7],
        width=side,
        height=side,
        num_inference_steps=STEPS,
        guidance_scale=output.recipe["guidance_scale"],
        generator=torch.Generator("cpu").manual_seed(3),
        output_type="np",
    ).images
    assert np.array_equal(output.pixels.array, (image * 255).round().astype(np.uint8))


def _encoded(pipeline: Any, text: str) -> tuple[torch.Tensor, torch.Tensor]:
    embeds, _, pooled, _ = pipeline.encode_prompt(
        text, device="cpu", do_classifier_free_guidance=False
    )
    return embeds, pooled


def test_networks_stay_for_the_next_job_until_memory_is_wanted(tmp_path: Path) -> None:
    """Those that the job at hand needs go last, one that was replaced is read again, resting forgets all."""
    for seed, name in ((1, "tiny-depth"), (2, "tiny-canny")):
        network(seed).save_pretrained(tmp_path / "controls" / name)
    runtime = LocalRuntime("tiny", "cpu", tmp_path)

    def told(kind: ControlKind) -> str:
        job = TextToImage(parameters=parameters((kind, 1.0)), extent=Extent(SIDE, SIDE))
        [output] = runtime.run(job, {"c0": control(0)}, quiet)
        return str(output.recipe["control_images"][0]["sha256"])

    control_networks.give_up_networks(needed_too=True)
    depth = told(DEPTH)
    told(LINE)
    assert len(control_networks._loaded) == 2
    assert control_networks.give_up_networks(needed_too=False)
    assert not control_networks.give_up_networks(needed_too=False), "or trying again had no end"
    assert len(control_networks._loaded) == 1
    network(3).save_pretrained(tmp_path / "controls" / "tiny-depth")
    assert told(DEPTH) == weights_hash(tmp_path, "tiny-depth") != depth
    runtime.rest()
    assert not control_networks._loaded
