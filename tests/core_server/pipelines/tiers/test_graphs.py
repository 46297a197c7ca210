"""Graphs change the time and nothing else, whatever happened before; what cannot be one is painted as ever."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core_server.canvas.geometry import Extent
from core_server.canvas.plan import SeamlessAxes
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.request import (
    Adapter,
    AdapterKind,
    ImageToImage,
    Parameters,
    TextToImage,
)
from core_server.pipelines.tiers.graphs import WARM_CALLS, GraphedNetwork
from core_server.pipelines.tiers.operations import TorchOperations
from core_server.pipelines.tiers.workshop import Workshop
from core_server.pipelines.tiny import make_tiny_pipeline
from tests.core_server.pipelines.conftest import picture, quiet
from tests.core_server.pipelines.test_adapters import diffusers_lora
from tests.core_server.pipelines.tiers.recorder import Recorder
from tests.core_server.pipelines.tiny_families import save_tiny_family

STEPS = WARM_CALLS + 2
"""Two calls by Python, one that is recorded, one replay."""


def asked(side: int = 32, **changes: Any) -> TextToImage:
    given = {"prompt": "moss", "num_inference_steps": STEPS, "seed": 3, **changes}
    return TextToImage(parameters=Parameters(**given), extent=Extent(side, side))


def lora(name: str, weight: float) -> tuple[Adapter, ...]:
    return (Adapter(kind=AdapterKind.LORA, name=name, weight=weight),)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    adapters = folder / "adapters"
    adapters.mkdir()
    for seed, name in enumerate(("first", "second")):
        save_file(diffusers_lora(make_tiny_pipeline(), seed), adapters / f"{name}.safetensors")
    return folder


@pytest.mark.parametrize("kernels", [None, TorchOperations()], ids=["stock", "our kernels"])
def test_no_graph_is_ever_stale(data_dir: Path, kernels: TorchOperations | None) -> None:
    """Each job twice in a row, all changes in between, against a runtime without graphs."""
    plain = LocalRuntime("tiny", "cpu", data_dir)
    recorder = Recorder()
    workshop = Workshop(operations=kernels, backend=recorder)
    graphed = LocalRuntime("tiny", "cpu", data_dir, workshop=workshop)
    source = picture(32, 32)
    from_picture = ImageToImage(
        parameters=Parameters(prompt="rust", num_inference_steps=6, seed=1),
        image="a", strength=0.9,
    )  # fmt: skip
    jobs = [
        asked(),
        asked(seamless=SeamlessAxes.XY),
        asked(seamless=SeamlessAxes.X, seed=4),
        asked(prompt="rust", side=48),
        asked(guidance_scale=1.0),
        asked(adapters=lora("first", 1.0)),
        asked(adapters=lora("first", 0.5)),
        asked(adapters=lora("first", 0.5) + lora("second", 1.0), seamless=SeamlessAxes.X),
        asked(),
        from_picture,
    ]
    launched = []
    for job in jobs:
        images = {"a": source} if isinstance(job, ImageToImage) else {}
        (expected,) = plain.run(job, images, quiet)
        for _ in range(2):
            (found,) = graphed.run(job, images, quiet)
            difference = found.pixels.array.astype(int) - expected.pixels.array
            assert np.abs(difference).max() <= (kernels is not None), job
            launched.append(found.recipe["launched"])
        assert expected.recipe["launched"] == "eager"
    # The first call of all is compared with stock PyTorch, where there are kernels.
    assert launched == ["eager" if kernels else "graph"] + ["graph"] * (len(launched) - 1)
    assert recorder.recorded < 2 * len(jobs), "most are used again"


@pytest.mark.parametrize("name", ["flux_2_klein", "z_image"])
def test_other_families(tmp_path: Path, name: str) -> None:
    save_tiny_family(name, tmp_path / "models" / name)
    plain = LocalRuntime(name, "cpu", tmp_path)
    graphed = LocalRuntime(name, "cpu", tmp_path, workshop=Workshop(backend=Recorder()))
    for job in (asked(64), asked(64, seamless=SeamlessAxes.XY)):
        (expected,) = plain.run(job, {}, quiet)
        (found,) = graphed.run(job, {}, quiet)
        assert (found.pixels.array == expected.pixels.array).all()
        assert found.recipe["launched"] == "graph"


@pytest.mark.parametrize(
    "recorder",
    [
        Recorder(RuntimeError("operation not permitted when stream is capturing")),
        Recorder(torch.OutOfMemoryError("CUDA out of memory")),
        Recorder(off=0.1),
    ],
    ids=["cannot be recorded", "no memory for it", "gives other numbers"],
)
def test_what_cannot_be_a_graph_is_painted_as_ever(tmp_path: Path, recorder: Recorder) -> None:
    (expected,) = LocalRuntime("tiny", "cpu", tmp_path).run(asked(), {}, quiet)
    graphed = LocalRuntime("tiny", "cpu", tmp_path, workshop=Workshop(backend=recorder))
    for _ in range(2):
        (found,) = graphed.run(asked(), {}, quiet)
        assert (found.pixels.array == expected.pixels.array).all()
        assert found.recipe["launched"] == "eager"


def test_graphs_are_the_first_to_go_when_memory_runs_out(tmp_path: Path) -> None:
    runtime = LocalRuntime("tiny", "cpu", tmp_path, workshop=Workshop(backend=Recorder()))
    runtime.run(asked(), {}, quiet)
    tiers = runtime._model("tiny").tiers
    assert tiers.size == 1000
    relief = runtime._keeper.step_down("tiny")
    assert relief is not None
    assert "gave its memory back" in relief.told
    assert (tiers.size, relief.model.rung) == (0, 0), "the model itself stays where it was"
    (again,) = runtime.run(asked(), {}, quiet)
    assert again.recipe["launched"] == "eager"


def test_graphs_are_few() -> None:
    recorder = Recorder()
    network = GraphedNetwork(recorder, most=2)

    def call(size: int) -> list[float]:
        result: torch.Tensor = network.call(lambda x: x * 2, "", (torch.ones(size),), {})
        return result.tolist()

    for _ in range(2):
        for size in (1, 2, 3):
            for _ in range(WARM_CALLS + 2):
                assert call(size) == [2.0] * size
    assert network.size == 2000
    assert recorder.recorded == 6, "what was given up is recorded anew"


def test_unknown_arguments_are_never_recorded() -> None:
    recorder = Recorder()
    network = GraphedNetwork(recorder)
    x = torch.ones(2)
    for _ in range(4):
        result = network.call(lambda x, thing: x + thing.value, "", (x, _Thing()), {})
        assert result.tolist() == [3.0, 3.0]
    assert recorder.recorded == 0


class _Thing:
    value = 2.0


def test_a_model_that_is_loaded_ahead_has_its_graph_before_the_first_picture(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "model"
    save_tiny_family("stable_diffusion", folder)
    (folder / "profile.json").write_text('{"best_extent": [32, 32]}', encoding="utf-8")
    recorder = Recorder()
    runtime = LocalRuntime(str(folder), "cpu", tmp_path, workshop=Workshop(backend=recorder))
    runtime.load("")
    assert recorder.recorded == 1
    [output] = runtime.run(asked(num_inference_steps=2, guidance_scale=7.0), {}, quiet)
    assert output.recipe["launched"] == "graph"
    [expected] = LocalRuntime(str(folder), "cpu", tmp_path).run(
        asked(num_inference_steps=2, guidance_scale=7.0), {}, quiet
    )
    assert np.array_equal(output.pixels.array, expected.pixels.array)
    runtime.load("")
    assert recorder.recorded == 1, "once is enough"


def test_a_failed_warming_up_fails_no_loading(tmp_path: Path) -> None:
    class Refuses(LocalRuntime):
        def _attempt(self, *_: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory")

    runtime = Refuses("tiny", "cpu", tmp_path, workshop=Workshop(backend=Recorder()))
    assert runtime.load("").family == "stable_diffusion"
