"""Weights of one byte each."""

import torch

from core_server.pipelines.small_weights import pack, unpack


def test_one_byte_weights_come_back_within_half_a_step() -> None:
    torch.manual_seed(0)
    weights = {
        "kernel": torch.randn(6, 4, 3, 3) * torch.logspace(-3, 1, 6).view(-1, 1, 1, 1),
        "matrix": torch.randn(5, 7),
        "bias": torch.randn(6),
        "empty.row": torch.zeros(2, 3),
    }
    packed = pack(weights)
    assert packed["kernel"].dtype is torch.int8
    back = unpack(packed)
    assert back.keys() == weights.keys()
    for name, value in weights.items():
        if value.ndim > 1:
            step = value.flatten(1).abs().amax(1) / 127
            error = (back[name] - value).flatten(1).abs().amax(1)
            assert (error <= 0.52 * step + 1e-6).all(), name
        else:
            assert torch.allclose(back[name], value, atol=2e-3)
