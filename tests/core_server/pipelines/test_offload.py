"""Layers that come and go: every family paints the same picture, and what is away is really not used.

Models are on a fake card, which refuses what is not there; what is away reads as NaN beside, so that whoever computes
with it where it is spoils the picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from core_server.canvas.geometry import Extent
from core_server.pipelines.families.registry import FAMILIES
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.memory import Rung
from core_server.pipelines.offload import (
    AT_ONCE,
    Lane,
    OffloadedNetwork,
    at_work,
    large_weights,
    layers_of,
)
from core_server.pipelines.parcels import Parcel, packed
from core_server.pipelines.placement import place
from core_server.pipelines.request import (
    Adapter,
    AdapterKind,
    ControlImage,
    ControlKind,
    Parameters,
    ReferenceImage,
    TextToImage,
)
from core_server.pipelines.task import TaskOutput
from core_server.pipelines.tiers.workshop import Workshop
from tests.core_server.pipelines.conftest import picture, quiet
from tests.core_server.pipelines.fake_card import CARD, FakeCard
from tests.core_server.pipelines.tiny_families import BUILDERS, save_tiny_family
from tests.core_server.pipelines.tiny_loras import diffusers_lora

CPU = torch.device("cpu")


class Traffic:
    """Bytes of parcels that are there."""

    def __init__(self) -> None:
        self.now = self.most = self.brought = 0

    def count(self, change: int) -> None:
        self.now += change
        self.most = max(self.most, self.now)
        self.brought += max(change, 0)


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> Traffic:
    found, init, bring, leave = Traffic(), Parcel.__init__, Parcel.bring, Parcel.leave

    def spoil(parcel: Parcel) -> None:
        for tensor in parcel.tensors:
            if tensor.is_floating_point() and tensor.dtype.itemsize > 1:
                tensor.data = torch.full_like(tensor.data, torch.nan)

    def spoiled(parcel: Parcel, *arguments: Any) -> None:
        init(parcel, *arguments)
        spoil(parcel)

    def counted(parcel: Parcel) -> None:
        bring(parcel)
        found.count(parcel.size)

    def left(parcel: Parcel) -> None:
        found.count(-parcel.size if parcel.there else 0)
        leave(parcel)
        spoil(parcel)

    monkeypatch.setattr(Parcel, "__init__", spoiled)
    monkeypatch.setattr(Parcel, "bring", counted)
    monkeypatch.setattr(Parcel, "leave", left)
    return found


def request(**changes: Any) -> TextToImage:
    parameters = Parameters(prompt="moss", num_inference_steps=2, seed=3, **changes)
    return TextToImage(parameters=parameters, extent=Extent(64, 64))


SLOW = ("qwen_image_edit",)
"""Always paints a megapixel; its networks are those of Qwen-Image."""


@pytest.fixture
def card() -> Iterator[FakeCard]:
    with FakeCard() as found:
        yield found


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize(
    "name", [it for it in BUILDERS if it not in SLOW and "text_to_image" in FAMILIES[it].tasks]
)
def test_every_family_paints_the_same_on_every_rung(
    tmp_path: Path, name: str, traffic: Traffic
) -> None:
    save_tiny_family(name, tmp_path / "models" / name)
    runtime = LocalRuntime(name, CARD.type, tmp_path, workshop=Workshop())
    family = FAMILIES[name]
    looks = (ReferenceImage(image="look"),) if family.paints_from_looks else ()
    control = (
        (ControlImage(kind=ControlKind.DEPTH, image="look"),) if family.controls_itself else ()
    )
    task = request(reference_images=looks, control_images=control)
    images = {"look": picture(64, 64)}
    model = runtime._model(name)

    def painted(rung: Rung) -> TaskOutput:
        place(model, rung)
        model.vae.disable_tiling()
        model.prompts.clear()
        (output,) = runtime.run(task, images, quiet)
        assert output.recipe["memory"] == rung.name.lower()
        return output

    whole = painted(Rung.RESIDENT)
    assert not traffic.brought
    # Not VAE_TILED, which is this one with tiles.
    for rung in (Rung.ENCODERS_OFF, Rung.MODEL_OFFLOAD, Rung.GROUP_OFFLOAD):
        assert likeness(painted(rung), whole) <= 1
    assert traffic.brought > 0
    (again,) = runtime.run(task, images, quiet)  # now it knows which layer comes next
    assert likeness(again, whole) <= 1
    in_8_bits = painted(Rung.QUANTISED)
    rounded = painted(Rung.RESIDENT)
    assert likeness(in_8_bits, rounded) <= 1
    assert not traffic.now


def likeness(one: TaskOutput, other: TaskOutput) -> int:
    """Levels of 255. Where numbers lie in a CPU's memory decides the last bits of its sums."""
    return int(np.abs(one.pixels.array.astype(int) - other.pixels.array).max())


class Stack(nn.Module):
    """Ten layers of 64 KiB, and something small between them."""

    def __init__(self) -> None:
        super().__init__()
        self.between = nn.LayerNorm(128)
        self.layers = nn.ModuleList(nn.Linear(128, 128) for _ in range(10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.between(x)
        for layer in self.layers:
            x = layer(x).tanh()
        return x


@torch.no_grad()
def test_as_many_layers_stay_as_there_is_room_for(traffic: Traffic) -> None:
    torch.manual_seed(0)
    x, size = torch.randn(3, 128), 4 * 128 * 129
    stack = Stack().requires_grad_(False)
    expected = stack(x)
    for staying in (0, 4, 10):
        traffic.most = traffic.brought = 0
        network = OffloadedNetwork(stack, CPU, kept=staying * size, rest_stays=True)
        for _ in range(2):
            assert (stack(x) == expected).all()
        assert traffic.brought == size * 2 * (10 - staying)
        assert traffic.most <= AT_ONCE * size
        network.dissolve()
    assert (stack(x) == expected).all()
    assert not stack._forward_pre_hooks and not hasattr(stack, "_hf_hook")
    assert at_work(stack) == size * AT_ONCE + 4 * 2 * 128


class Log(Lane):
    """What was sent, awaited and left, by the number of the layer."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Parcel]] = []

    def send(self, parcel: Parcel) -> None:
        assert not parcel.there
        parcel.bring()
        parcel.ready = True
        self.told.append(("send", parcel))

    def wait(self, parcel: Parcel) -> None:
        assert parcel.there
        parcel.ready = None
        self.told.append(("wait", parcel))


@torch.no_grad()
def test_the_next_layer_is_on_its_way_while_one_works(traffic: Traffic) -> None:
    stack, x, lane = Stack().requires_grad_(False), torch.randn(3, 128), Log()
    expected = stack(x)
    network = OffloadedNetwork(stack, CPU, rest_stays=True, lane=lane)
    assert (stack(x) == expected).all()
    lane.told.clear()
    for _ in range(2):
        assert (stack(x) == expected).all()
    layers = network._layers
    number = {id(parcel): k for k, parcel in enumerate(layers)}
    told = [(what, number[id(parcel)]) for what, parcel in lane.told]
    ahead = [step for k in range(10) for step in (("wait", k), ("send", (k + 1) % 10))]
    # The first one is learned to follow the last one in the second call.
    assert told == [("send", 0), *ahead, *ahead]
    assert traffic.most <= 2 * layers[0].size
    network.dissolve()
    assert (stack(x) == expected).all()


@torch.no_grad()
def test_an_error_in_a_layer_leaves_nothing_behind(traffic: Traffic) -> None:
    stack, x = Stack().requires_grad_(False), torch.randn(3, 128)
    expected = stack(x)
    network = OffloadedNetwork(stack, CPU, rest_stays=True)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        stack.layers[4](torch.randn(3, 7))
    assert not traffic.now
    assert (stack(x) == expected).all()
    network.dissolve()


@torch.no_grad()
def test_shared_tables_and_what_is_added_later_are_found(traffic: Traffic) -> None:
    """Two layers with one weight; a layer that grows an adapter while it is away."""
    stack, x = Stack().requires_grad_(False), torch.randn(3, 128)
    stack.layers[2].weight = stack.layers[7].weight
    expected = stack(x)
    network = OffloadedNetwork(stack, CPU, rest_stays=True)
    assert (stack(x) == expected).all()
    stack.layers[1] = nn.Sequential(stack.layers[1], nn.Identity())
    stack.layers[3].extra = nn.Parameter(torch.ones(3))
    assert (stack(x) == expected).all()
    assert (stack.layers[3].extra == 1).all()
    network.dissolve()


@pytest.mark.parametrize("roomy", [True, False], ids=["in one piece", "where they are"])
def test_tensors_keep_type_and_layout(roomy: bool) -> None:
    tensors = [
        torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last),
        torch.randn(5, 7).to(torch.bfloat16),
        torch.arange(9),
        torch.tensor(2.5),
        torch.randn(6, 4).t(),
        torch.randn(8).to(torch.float8_e4m3fn),
        torch.empty(0),
    ]
    wanted = [it.clone() for it in tensors]
    narrow = {id(tensors[1]): torch.float8_e4m3fn}
    wanted[1] = wanted[1].to(torch.float8_e4m3fn).to(torch.bfloat16)
    (parcel,) = packed([tensors], CPU, narrow, roomy=lambda _: roomy)
    for _ in range(2):
        parcel.bring()
        for tensor, value in zip(tensors, wanted, strict=True):
            assert (tensor.dtype, tensor.shape) == (value.dtype, value.shape)
            assert torch.equal(tensor.float(), value.float())
        parcel.leave()
    assert tensors[0].is_contiguous(memory_format=torch.channels_last)
    assert parcel.size % 512 == 0


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize("in_8_bits", [False, True], ids=["as they are", "in 8 bits"])
def test_adapters_find_layers_that_are_away(tmp_path: Path, in_8_bits: bool) -> None:
    """LoRAs on denoiser and text encoder, new words, loaded when the model is already placed, and taken off again."""
    name = "stable_diffusion_xl"
    pipeline = save_tiny_family(name, tmp_path / "models" / name)
    folder = tmp_path / "adapters"
    folder.mkdir()
    save_file(diffusers_lora(pipeline, 5), folder / "moss.safetensors")
    rng = torch.Generator().manual_seed(1)
    words = {name: torch.randn(2, 32, generator=rng) for name in ("clip_l", "clip_g")}
    save_file(words, folder / "glow.safetensors")
    plain = request()
    worn = (
        Adapter(kind=AdapterKind.LORA, name="moss", weight=0.2),
        Adapter(kind=AdapterKind.TEXTUAL_INVERSION, name="glow", weight=1.0),
    )
    changed = Parameters(prompt="moss <glow>", num_inference_steps=2, seed=3, adapters=worn)
    wearing = TextToImage(parameters=changed, extent=plain.extent)

    def painted(rung: Rung) -> list[TaskOutput]:
        runtime = LocalRuntime(name, CARD.type, tmp_path, workshop=Workshop())
        place(runtime._model(name), rung)
        if in_8_bits and rung is Rung.RESIDENT:
            round_to_8_bits(runtime._model(name).denoiser)
        return [
            output
            for task in (plain, wearing, plain, wearing)
            for output in runtime.run(task, {}, quiet)
        ]

    expected = painted(Rung.RESIDENT)
    for rung in (Rung.QUANTISED,) if in_8_bits else (Rung.MODEL_OFFLOAD, Rung.GROUP_OFFLOAD):
        found = painted(rung)
        assert all(likeness(*pair) <= 1 for pair in zip(found, expected, strict=True))
        assert likeness(found[0], found[1]) > 1, "they act"
        assert likeness(found[0], found[2]) == likeness(found[1], found[3]) == 0


def round_to_8_bits(network: nn.Module) -> None:
    large = set(large_weights(network))
    for layer in layers_of(network):
        for tensor in layer.parameters():
            if id(tensor) in large:
                tensor.data = tensor.data.to(torch.float8_e4m3fn).to(tensor.dtype)
