"""Pictures are encoded once, and what comes of it keeps every bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from core_server.canvas.pixels import Pixels
from core_server.pipelines import encoded
from core_server.pipelines.encoded import EncodedCache
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.request import ImageToImage, Parameters, SeamlessAxes


class Network(torch.nn.Module):
    """Counts what it works out."""

    calls = 0

    def encode(self, image: torch.Tensor, return_dict: bool = True) -> Any:
        self.calls += 1
        return (image * 2,)


def picture(value: float) -> torch.Tensor:
    return torch.full((1, 3, 4, 4), value)


def test_the_same_picture_is_worked_out_once_whatever_object_it_is() -> None:
    cache, network = EncodedCache(), Network()
    with cache.used_by(network, "encode", "plain"):
        for image in (picture(1), picture(1), picture(2), picture(1)):
            assert torch.equal(network.encode(image)[0], image * 2)
    assert (network.calls, cache.hits, cache.misses) == (2, 2, 2)
    assert "encode" not in vars(network)
    network.encode(picture(1))
    assert network.calls == 3, "outside the context it is itself"


@pytest.mark.parametrize("what", ["picture", "result"])
def test_what_was_written_into_is_worked_out_again(what: str) -> None:
    cache, network, image = EncodedCache(), Network(), picture(1)
    with cache.used_by(network, "encode", "plain"):
        (result,) = network.encode(image)
        (image if what == "picture" else result).add_(1)
        assert torch.equal(network.encode(image)[0], image * 2)
    assert network.calls == 2


def test_another_state_layout_or_network_is_another_question() -> None:
    cache, network, other = EncodedCache(), Network(), Network()
    last = picture(1).to(memory_format=torch.channels_last)
    for asked, state, image in (
        (network, "plain", picture(1)),
        (network, "tiles", picture(1)),
        (network, "plain", last),
        (other, "plain", picture(1)),
    ):
        with cache.used_by(asked, "encode", state):
            asked.encode(image)
    assert (cache.hits, cache.misses) == (0, 4)


def test_it_stays_small() -> None:
    cache, network = EncodedCache(max_bytes=1 << 20), Network()
    with cache.used_by(network, "encode", ""):
        for value in range(20):
            network.encode(picture(value))
            assert cache.size <= encoded.MAX_KEPT * 2 * picture(0).nbytes
        assert (cache.hits, cache.misses) == (0, 20)
        network.encode(picture(0))
        assert cache.hits == 0, "the oldest went first"
        network.encode(torch.zeros(1, 3, 512, 512))
        network.encode(torch.zeros(2, 3, 512, 512)[:1, :, :8, :8])
        assert cache.size < 1 << 20, (
            "what is too large is not kept at all, nor what is a view of it"
        )


@pytest.mark.parametrize("axes", [SeamlessAxes.NONE, SeamlessAxes.XY])
def test_a_picture_painted_from_the_cache_has_the_same_bits(
    runtime: LocalRuntime, axes: SeamlessAxes
) -> None:
    rng = np.random.default_rng(3)
    images = {"it": Pixels(rng.integers(0, 256, (64, 64, 3), np.uint8))}

    def painted(prompt: str, seed: int) -> bytes:
        parameters = Parameters(prompt=prompt, seed=seed, num_inference_steps=2, seamless=axes)
        request = ImageToImage(parameters=parameters, image="it", strength=0.7)
        [output] = runtime.run(request, images, lambda _: None)
        return output.pixels.array.tobytes()

    cache = runtime._model("tiny").encoded
    cache.clear()
    before = cache.hits
    first = painted("moss", 1)
    assert cache.hits == before
    other = painted("bark", 2)
    assert cache.hits == before + 1
    cache.clear()
    assert (painted("bark", 2), painted("moss", 1)) == (other, first)
    figures = {it.name: it for it in runtime.info().caches}
    assert figures["pictures"].hits == cache.hits
    assert 0 < figures["pictures"].bytes == cache.size
    assert figures["prompts"].hits >= 2
