"""A UNet on a processor: what the stock one computes, in bfloat16 or float32, and only where it is stock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor
from torch import nn

from core_server.canvas.geometry import Extent
from core_server.canvas.plan import SeamlessAxes
from core_server.config import Tiers
from core_server.pipelines.catalogue import TINY, ModelFiles
from core_server.pipelines.loader import load_model
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.model import LoadedModel
from core_server.pipelines.request import Parameters, StructureStart, TextToImage
from core_server.pipelines.seamless import CircularConv, seamless
from core_server.pipelines.task import TaskOutput
from core_server.pipelines.tiers.packed import PackedConv
from core_server.pipelines.tiers.processor_unet import ProcessorUNet, fits, processor_dtype
from core_server.pipelines.tiers.workshop import Workshop, make_workshop

CPU = torch.device("cpu")
CLOSE = {torch.float32: 1e-4, torch.bfloat16: 3e-2}


@pytest.fixture(scope="module", autouse=True)
def _without_gradients() -> object:
    with torch.no_grad():
        yield


@pytest.fixture
def model() -> LoadedModel:
    loaded = load_model(ModelFiles(TINY, None), CPU)
    loaded.profile = msgspec.structs.replace(loaded.profile, bfloat16_denoiser=True)
    return loaded


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def called(unet: nn.Module, side: int = 16, **more: object) -> torch.Tensor:
    words = noise(2, 77, 32)
    result: torch.Tensor = unet(noise(2, 4, side, side), torch.tensor(500), words, **more)[0]
    return result


def distance(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("axes", list(SeamlessAxes))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_blocks_compute_what_the_stock_unet_does(
    model: LoadedModel, dtype: torch.dtype, axes: SeamlessAxes
) -> None:
    unet = model.denoiser
    assert fits(unet)
    # As a ControlNet gives them: one for each thing that the way down leaves, and one for the middle.
    down = tuple(noise(2, *shape) for shape in ((32, 16, 16), (32, 16, 16), (32, 8, 8), (64, 8, 8)))
    control = {
        "down_block_additional_residuals": down,
        "mid_block_additional_residual": noise(2, 64, 8, 8),
    }
    masked = {"encoder_attention_mask": torch.arange(77).expand(2, 77) < 5}
    fast = ProcessorUNet(unet, dtype)
    with seamless(axes, unet):
        for more in ({}, control, masked):
            expected = called(unet, **more)
            fast.put_on()
            found, again = called(unet, **more), called(unet, **more)
            fast.take_off()
            assert found.dtype is torch.float32
            assert torch.equal(found, again)
            assert distance(found, expected) < CLOSE[dtype]
            assert dtype is torch.float32 or not torch.equal(found, expected)
            assert torch.equal(called(unet, **more), expected), "nothing is left of it"


@pytest.mark.parametrize("packs", [True, False], ids=["packed", "usual"])
@pytest.mark.parametrize("axes", list(SeamlessAxes))
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2)])
def test_a_convolution_keeps_its_border(
    kernel: int, stride: int, axes: SeamlessAxes, packs: bool
) -> None:
    conv = nn.Conv2d(8, 16, kernel, stride, padding=kernel // 2).requires_grad_(False)
    fast = PackedConv(conv, torch.float32, packs=packs)
    with seamless(axes, conv):
        for side in (8, 12, 16, 8):
            x = noise(1, 8, side, side).contiguous(memory_format=torch.channels_last)
            assert torch.allclose(fast(x), conv(x), atol=1e-5)
            if isinstance(hand := vars(conv).get("_conv_forward"), CircularConv):
                assert hand.wrapped(x)[0].is_contiguous(memory_format=torch.channels_last)
    assert len(fast._packed) <= 2


def test_a_convolution_that_somebody_else_has_changed_computes_by_itself() -> None:
    conv = nn.Conv2d(4, 4, 3, padding=1).requires_grad_(False)
    fast = PackedConv(conv, torch.bfloat16)
    object.__setattr__(conv, "_conv_forward", lambda x, weight, bias: x * 2)
    x = noise(1, 4, 8, 8).bfloat16()
    assert torch.equal(fast(x), x * 2)


def _wrapped_by_an_adapter(unet: nn.Module) -> None:
    attention = unet.get_submodule("mid_block.attentions.0.transformer_blocks.0.attn1")

    class Layer(nn.Linear):
        pass

    attention.to_q = Layer(64, 64, bias=False)


CHANGES: dict[str, Callable[[nn.Module], object]] = {
    "an adapter": _wrapped_by_an_adapter,
    "a hook": lambda unet: unet.conv_in.register_forward_pre_hook(lambda *_: None),
    "another attention": lambda unet: unet.set_attn_processor(AttnProcessor()),
    "another padding": lambda unet: setattr(unet.conv_in, "padding_mode", "reflect"),
    "another forward": lambda unet: object.__setattr__(unet, "forward", unet.forward),
    "training": lambda unet: unet.train(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_unet_that_is_not_stock_paints_as_ever(model: LoadedModel, change: str) -> None:
    model.workshop = Workshop(processor=torch.bfloat16)
    extent = Extent(128, 128)
    with model.tiers.painting(model, SeamlessAxes.NONE, extent):
        called(model.denoiser)
    assert (model.tiers.kernels, model.tiers.denoiser_dtype) == ("onednn", torch.bfloat16)
    CHANGES[change](model.denoiser)
    expected = called(model.denoiser)
    with model.tiers.painting(model, SeamlessAxes.NONE, extent):
        assert torch.equal(called(model.denoiser), expected)
    assert (model.tiers.kernels, model.tiers.denoiser_dtype) == ("stock", None)


def test_changed_weights_are_never_served_stale(model: LoadedModel) -> None:
    model.workshop = Workshop(processor=torch.float32)
    unet, extent = model.denoiser, Extent(128, 128)
    changed: list[Callable[[], object]] = [
        lambda: None,
        lambda: unet.conv_in.weight.mul_(1.5),
        lambda: setattr(unet.conv_out.weight, "data", unet.conv_out.weight.data * 2),
    ]
    seen: list[torch.Tensor] = []
    for change in changed:
        change()
        expected = called(unet)
        with model.tiers.painting(model, SeamlessAxes.NONE, extent):
            assert distance(called(unet), expected) < CLOSE[torch.float32]
        assert all(distance(expected, other) > 1e-2 for other in seen)
        seen.append(expected)


def painted(data: Path, workshop: Workshop | None, axes: SeamlessAxes) -> list[TaskOutput]:
    """Twice the same picture of a runtime whose model allows bfloat16."""
    runtime = LocalRuntime(TINY, "cpu", data, workshop=workshop)
    model = runtime._model(TINY)
    model.profile = msgspec.structs.replace(model.profile, bfloat16_denoiser=True)
    parameters = Parameters(
        prompt="moss", seed=3, seamless=axes, structure=StructureStart.NOISE, num_inference_steps=4
    )
    request = TextToImage(parameters=parameters, extent=Extent(128, 128))
    return [runtime.run(request, {}, lambda _: None)[0] for _ in range(2)]


@pytest.mark.parametrize("axes", [SeamlessAxes.NONE, SeamlessAxes.XY])
def test_pictures_are_like_the_stock_ones_and_the_same_twice(
    tmp_path: Path, axes: SeamlessAxes
) -> None:
    stock = painted(tmp_path, Workshop(), axes)[0]
    fast = painted(tmp_path, Workshop(processor=torch.bfloat16), axes)
    assert np.array_equal(fast[0].pixels.array, fast[1].pixels.array)
    error = (fast[0].pixels.array.astype(float) - stock.pixels.array) ** 2
    assert 10 * np.log10(255**2 / max(error.mean(), 1e-9)) >= 40
    told = [(it.recipe["kernels"], it.recipe["denoiser_dtype"]) for it in (stock, fast[0])]
    assert told == [("stock", "float32"), ("onednn", "bfloat16")]


@pytest.mark.parametrize(
    ("bfloat16", "packs", "wanted"),
    [
        (True, True, torch.bfloat16),
        (True, False, torch.bfloat16),
        (False, True, torch.float32),
        (False, False, None),
    ],
)
def test_the_type_is_chosen_by_what_the_processor_has(
    bfloat16: bool, packs: bool, wanted: torch.dtype | None
) -> None:
    assert processor_dtype(bfloat16=bfloat16, packs=packs) is wanted


def test_one_switch_turns_it_off() -> None:
    assert make_workshop(CPU, torch.float32, Tiers(processor=False)).processor is None
