"""Memory that runs out in the middle of a job: the job goes on further down the ladder, and the user is told.

The device is a CPU whose allocator fails where the prompt says so, so that every rung is met everywhere.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import scumble.client
from core_server.canvas.geometry import Extent
from core_server.errors import OutOfMemory
from core_server.pipelines import devices, keeper
from core_server.pipelines.catalogue import Catalogue
from core_server.pipelines.keeper import FEWER_LAYERS, OTHERS_GIVEN_UP, ModelKeeper
from core_server.pipelines.memory import Rung
from core_server.pipelines.request import Parameters, TextToImage
from scumble.client import TextToImage as Ask
from tests.core_server.pipelines.conftest import quiet
from tests.core_server.pipelines.tiny_families import save_tiny_family
from tests.core_server.rpc.gateway import TOKEN, running_gateway
from tests.fakes.small_device import HOLD, SmallDevice, create

LOWER = [rung for rung in Rung if rung is not Rung.RESIDENT]
NAME = "stable_diffusion_3"  # several text encoders, and weights that 8 bits can hold


def asked(prompt: str, model: str = "") -> TextToImage:
    parameters = Parameters(prompt=prompt, model=model, num_inference_steps=2, seed=3)
    return TextToImage(parameters=parameters, extent=Extent(64, 64))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("small")
    save_tiny_family(NAME, root / "models" / NAME)
    return root


def run(runtime: SmallDevice, prompt: str, model: str = "") -> tuple[Any, list[str]]:
    """The picture, and what was said about memory on the way."""
    seen: list[Any] = []
    (output,) = runtime.run(asked(prompt, model), {}, seen.append)
    return output, [it.stage for it in seen if "Out of memory" in it.stage]


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (torch.AcceleratorError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), True),
        (MemoryError(), True),
        (RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED when calling cublasGemmEx"), False),
        (ValueError("out of memory"), False),
    ],
    ids=lambda it: str(it)[:40],
)
def test_every_library_has_its_words_for_it(error: BaseException, is_it: bool) -> None:
    assert devices.is_out_of_memory(error) is is_it


def test_a_job_goes_down_as_far_as_it_must(data_dir: Path) -> None:
    """Rung by rung: what is said, what the recipe says, and that the picture stays what it was."""
    runtime = create(NAME, "cpu", data_dir)
    expected, said = run(runtime, "moss")
    assert (said, expected.recipe["memory"]) == ([], "resident")
    for target in LOWER:
        output, said = run(runtime, f"{target.name}: moss")
        # Layers that stayed although there was no room leave first: half of them, then all.
        first = [FEWER_LAYERS] * 2 if target is Rung.QUANTISED else []
        assert said == [f"Out of memory; trying again: {told}" for told in (*first, target.told)]
        assert output.recipe["memory"] == target.name.lower()
        assert f"to save memory: {target.told}" in output.recipe["notes"]
        again, said = run(runtime, "moss")
        assert (said, again.recipe["memory"]) == ([], target.name.lower()), "it stays there"
        difference = np.abs(again.pixels.array.astype(int) - expected.pixels.array)
        assert (difference.max() == 0) == (target is not Rung.QUANTISED)
        assert difference.mean() < 10
    runtime.rest()
    after, said = run(runtime, "moss")
    assert (said, after.recipe["memory"]) == ([], "resident"), (
        "others may have left the device meanwhile"
    )
    assert (after.pixels.array == expected.pixels.array).all()


def test_at_the_end_of_the_ladder_one_sentence_and_the_next_job_runs(data_dir: Path) -> None:
    runtime = create("tiny", "cpu", data_dir)
    with pytest.raises(OutOfMemory, match="make the picture or the selection smaller"):
        runtime.run(asked("NOWHERE: moss"), {}, quiet)
    output, said = run(runtime, "moss")
    assert (said, output.recipe["memory"]) == ([], "quantised")


def test_other_models_leave_first(data_dir: Path) -> None:
    runtime = create("tiny", "cpu", data_dir)
    run(runtime, "moss", NAME)
    output, said = run(runtime, "ENCODERS_OFF: moss", "tiny")
    assert said == [
        f"Out of memory; trying again: {told}" for told in (OTHERS_GIVEN_UP, Rung.ENCODERS_OFF.told)
    ]
    assert list(runtime._keeper.loaded) == ["tiny"]
    assert output.recipe["memory"] == "encoders_off"


def test_a_model_that_finds_no_room_when_it_is_placed_stands_lower(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The budget said that it fits, and another program was faster. Each rung fails half-way at first."""
    real, failures = keeper.place, itertools.count()

    def place(model: Any, rung: Rung, kept: int) -> None:
        if rung < Rung.QUANTISED:
            next(failures)
            real(model, rung, kept)
            raise torch.OutOfMemoryError("CUDA out of memory")
        real(model, rung, kept)

    monkeypatch.setattr(keeper, "place", place)
    runtime = create("tiny", "cpu", data_dir)
    output, said = run(runtime, "moss")
    assert (said, output.recipe["memory"]) == ([], "quantised")
    assert "to save memory" in " ".join(output.recipe["notes"])
    assert next(failures) == len(Rung), "once more where layers may stay"
    monkeypatch.setattr(keeper, "place", lambda *_: _raise())
    fresh = create("tiny", "cpu", data_dir)
    with pytest.raises(OutOfMemory, match="ran out of memory"):
        fresh.run(asked("moss"), {}, quiet)
    assert not fresh._keeper.loaded
    monkeypatch.setattr(keeper, "place", real)
    assert run(fresh, "moss")[0].pixels.extent == Extent(64, 64)


def _raise() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_a_budget_plans_where_a_model_stands(data_dir: Path) -> None:
    """Bytes free on the device, and the rung that a model is placed on without anything having run out."""
    catalogue = Catalogue(NAME, data_dir)
    whole = ModelKeeper(torch.device("cpu")).get(catalogue.find(""))
    weights = sum(
        p.numel() * p.element_size()
        for part in whole.components.values()
        if isinstance(part, torch.nn.Module)
        for p in part.parameters()
    )
    found = []
    for free in (1 << 40, weights, 0):
        memory = devices.Memory(free, 1 << 40)
        held = ModelKeeper(torch.device("cpu"), lambda _, it=memory: it, tuple(Rung))
        found.append(held.get(catalogue.find("")).rung)
    assert found[0] is Rung.RESIDENT
    assert found[-1] is Rung.QUANTISED
    assert found == sorted(found)


def test_through_the_whole_server_no_job_is_lost(tmp_path: Path) -> None:
    hold = tmp_path / HOLD
    hold.touch()
    with (
        running_gateway(tmp_path, runtime="tests.fakes.small_device:create") as gateway,
        scumble.client.connect(gateway.address, token=TOKEN) as client,
    ):
        job = client.submit(Ask("MODEL_OFFLOAD: moss", 64, 64, num_inference_steps=2))
        said = []
        for event in job.watch():
            hold.unlink(missing_ok=True)  # somebody looks; before that nothing is painted
            if event.progress and "Out of memory" in event.progress.stage:
                said.append(event.progress.stage)
        assert list(dict.fromkeys(said)) == [
            f"Out of memory; trying again: {rung.told}"
            for rung in LOWER
            if rung <= Rung.MODEL_OFFLOAD
        ]
        [patch] = job.result()
        assert patch.recipe["memory"] == "model_offload"
        assert any(Rung.MODEL_OFFLOAD.told in note for note in patch.recipe["notes"])
        lost = client.submit(Ask("NOWHERE: moss", 64, 64, num_inference_steps=2))
        with pytest.raises(scumble.client.OutOfMemory, match="ran out of memory; make the picture"):
            lost.result()
        [last] = client.submit(Ask("moss", 64, 64, num_inference_steps=2)).result()
        assert last.recipe["memory"] == "quantised"
