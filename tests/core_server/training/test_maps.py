"""The picture-to-maps network: any size, tile-preserving, learns, survives saving."""

from pathlib import Path

import pytest
import torch

from core_server.training.default_model.maps import (
    CHANNELS,
    MapsNetwork,
    camera,
    maps_loss,
    measure_maps,
    train_maps,
)
from core_server.training.default_model.maps_pool import make_maps_pool


@pytest.mark.parametrize("size", [(32, 32), (40, 72)], ids=["square", "wide"])
def test_any_size_gives_maps_in_range_and_unit_normals(size: tuple[int, int]) -> None:
    network = MapsNetwork().eval()
    with torch.no_grad():
        out = network(torch.rand(2, 3, *size))
    assert out.shape == (2, len(CHANNELS), *size)
    assert out.min() >= 0
    assert out.max() <= 1
    normal = out[:, 1:4] * 2 - 1
    assert torch.allclose(normal.norm(dim=1), torch.ones(2, *size), atol=1e-4)
    assert 1e6 < sum(p.numel() for p in network.parameters()) < 2e6


def test_wrapped_network_commutes_with_rolling() -> None:
    network = MapsNetwork().eval()
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        rolled = network(image.roll((8, 16), (2, 3)))
        assert torch.allclose(rolled, network(image).roll((8, 16), (2, 3)), atol=1e-5)


def test_training_lowers_the_loss_and_saving_keeps_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = MapsNetwork((8, 16, 24, 32))
    pool = make_maps_pool(8, seed=1, device="cpu", size=32, batch=4)
    losses: list[float] = []
    for steps in (1, 14):
        losses.append(
            train_maps(
                network, pool, seconds=60, device="cpu", log=lambda event, **values: None,
                batch=4, peak_lr=2e-2, max_steps=steps,
            )
        )  # fmt: skip
    assert losses[1] < losses[0]
    scores = measure_maps(network, pool)
    assert 0 < scores["angle"] < 60
    assert scores["flat_angle"] > 0
    network.save(tmp_path)
    again = MapsNetwork.load(tmp_path)
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(network(image), again(image), atol=2e-2)


def test_camera_keeps_the_range() -> None:
    out = camera(torch.rand(3, 3, 16, 16))
    assert out.min() >= 0
    assert out.max() <= 1


def test_loss_ignores_a_shift_of_height() -> None:
    truth = torch.rand(1, 6, 8, 8) * 0.5
    shifted = truth.clone()
    shifted[:, 0] += 0.3
    assert float(maps_loss(shifted, truth)) == pytest.approx(0.0, abs=1e-6)
