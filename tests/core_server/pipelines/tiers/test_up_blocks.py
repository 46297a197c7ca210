"""The way up reads two pictures as one, and the timestep's shares are made beside other work: nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

from core_server.pipelines.tiers.kernels import Kernels, channels_last
from core_server.pipelines.tiers.operations import TorchOperations
from core_server.pipelines.tiers.side_branch import Work, branch_of, try_branch

_JOINTS = 4
"""Of the network: two blocks on the way up, of two layers each."""


class _Late:
    """A `Branch` as slow as can be: whoever reads before `join` gets what is no number."""

    def __init__(self) -> None:
        self.begun = 0
        self._open: list[tuple[torch.Tensor, torch.Tensor]] = []

    def begin(self, work: Work) -> list[torch.Tensor]:
        self.begun += 1
        found = work()
        given = [torch.full_like(it, float("nan")) for it in found]
        self._open = list(zip(given, found, strict=True))
        return given

    def join(self) -> None:
        for given, found in self._open:
            given.copy_(found)
        self._open = []


class _Watched(TorchOperations):
    """Counts the pictures that were joined, and asks what had begun when the first norm was called."""

    def __init__(self, branch: _Late) -> None:
        self.joined = 0
        self.begun_at_norms: list[int] = []
        self._branch = branch

    def group_norm(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.begun_at_norms.append(self._branch.begun)
        return super().group_norm(*args, **kwargs)

    def joined_norm(self, *args: Any) -> tuple[torch.Tensor, torch.Tensor]:
        self.joined += 1
        return super().joined_norm(*args)


def _network() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=8,
        norm_num_groups=8,
    ).eval()


def _called(network: UNet2DConditionModel, step: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(step)
    latents = torch.randn(2, 4, 8, 12, generator=generator)
    prompt = torch.randn(2, 5, 8, generator=generator)
    found: torch.Tensor = network(latents, torch.tensor(step), prompt, return_dict=False)[0]
    return found


def _watched_by_others(network: Any) -> None:
    network.up_blocks[0].resnets[1].register_forward_hook(lambda *_: None)


def _with_free_u(network: Any) -> None:
    network.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)


def _wrapped_shortcut(network: Any) -> None:
    resnet = network.up_blocks[1].resnets[0]
    resnet.conv_shortcut = torch.nn.Sequential(resnet.conv_shortcut)


def _first_block_watched(network: Any) -> None:
    network.down_blocks[0].resnets[0].register_forward_pre_hook(lambda *_: None)


def _embedding_watched(network: Any) -> None:
    network.time_embedding.register_forward_hook(lambda *_: None)


@pytest.mark.parametrize(
    ("change", "joined", "late"),
    [
        pytest.param(lambda _: None, _JOINTS, (0, 0), id="stock"),
        pytest.param(_watched_by_others, _JOINTS - 1, (0, 0), id="a layer that somebody watches"),
        pytest.param(
            _first_block_watched, _JOINTS, (1, 1), id="a first layer that somebody watches"
        ),
        pytest.param(_embedding_watched, _JOINTS, (1, 0), id="an embedding that somebody watches"),
        pytest.param(_with_free_u, 0, (0, 0), id="FreeU"),
        pytest.param(_wrapped_shortcut, _JOINTS, (0, 0), id="a wrapped shortcut"),
    ],
)
@torch.no_grad()
def test_a_unet_is_the_stock_one(
    change: Callable[[Any], None], joined: int, late: tuple[int, int]
) -> None:
    """late: branches that are still to begin at the first layer of all, and at the first normalisation."""
    network = _network()
    change(network)
    expected = [_called(network, step) for step in (7, 900)]
    channels_last(network)
    branch = _Late()
    operations = _Watched(branch)
    kernels = Kernels(operations, network, branch=lambda _: branch)
    kernels.put_on()
    begun: list[int] = []
    network.conv_in.register_forward_pre_hook(lambda *_: begun.append(branch.begun))
    for calls, (step, wanted) in enumerate(zip((7, 900), expected, strict=True), start=1):
        operations.begun_at_norms.clear()
        begun.clear()
        torch.testing.assert_close(_called(network, step), wanted, rtol=1e-4, atol=1e-5)
        assert (operations.joined, branch.begun) == (calls * joined, calls)
        assert (*begun, operations.begun_at_norms[0]) == tuple(calls - it for it in late)
    kernels.take_off()
    torch.testing.assert_close(_called(network, 7), expected[0], rtol=1e-4, atol=1e-5)
    assert branch.begun == len(expected)


@torch.no_grad()
def test_what_fails_while_a_branch_is_open_harms_no_later_call() -> None:
    network = _network()
    expected = _called(network, 5)
    branch = _Late()
    kernels = Kernels(_Watched(branch), network, branch=lambda _: branch)
    kernels.put_on()
    convolution = network.down_blocks[0].resnets[0].conv1
    watch = convolution.register_forward_pre_hook(_fails)
    with pytest.raises(MemoryError):
        _called(network, 5)
    watch.remove()
    torch.testing.assert_close(_called(network, 5), expected, rtol=1e-4, atol=1e-5)


def _fails(*_: Any) -> None:
    raise MemoryError


def test_a_processor_has_no_branch() -> None:
    device = torch.device("cpu")
    try_branch(device)
    branch = branch_of(device)
    (found,) = branch.begin(lambda: [torch.ones(2)])
    branch.join()
    assert found.tolist() == [1.0, 1.0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_device_has_a_branch() -> None:
    device = torch.device("cuda:0")
    try_branch(device)
    assert branch_of(device) is not branch_of(torch.device("cpu"))
