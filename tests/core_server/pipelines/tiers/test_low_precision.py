"""8-bit products: how far they are from the others, what they leave as it was, and where they are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.torch import save_file

from core_server.canvas.geometry import Extent
from core_server.errors import InvalidRequest
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.request import (
    Adapter,
    AdapterKind,
    DenoiserPrecision,
    Parameters,
    ReferenceImage,
    TextToImage,
)
from core_server.pipelines.task import TaskOutput
from core_server.pipelines.tiers.operations import TorchOperations
from core_server.pipelines.tiers.row_trials import (
    FORMATS,
    NoLowPrecision,
    row_operations,
    works,
)
from core_server.pipelines.tiers.scaled_rows import Rows, TorchRows
from core_server.pipelines.tiers.workshop import Workshop
from core_server.pipelines.tiny import make_tiny_pipeline
from tests.core_server.pipelines.conftest import picture, quiet
from tests.core_server.pipelines.tiers.recorder import Recorder
from tests.core_server.pipelines.tiny_families import save_tiny_family
from tests.core_server.pipelines.tiny_loras import diffusers_lora
from tests.core_server.pipelines.tiny_references import save_ip_adapter

FP8, INT8 = DenoiserPrecision.FP8, DenoiserPrecision.INT8
FEWEST_DECIBELS = {FP8: 32.0, INT8: 40.0}
"""Of tiny models with random weights, which make much of little."""


def emulated(**more: Any) -> Workshop:
    """A processor that has both formats, by PyTorch."""
    return Workshop(rows=lambda _device, precision: TorchRows(FORMATS[precision]), **more)


def paint(
    runtime: LocalRuntime, precision: DenoiserPrecision | None = None, **more: Any
) -> TaskOutput:
    parameters = Parameters(
        prompt="moss", num_inference_steps=3, seed=3, denoiser_precision=precision, **more
    )
    request = TextToImage(parameters=parameters, extent=Extent(64, 64))
    [output] = runtime.run(request, {"look": picture(50, 70)}, quiet)
    return output


def same(one: TaskOutput, other: TaskOutput) -> bool:
    return np.array_equal(one.pixels.array, other.pixels.array)


def decibels(one: TaskOutput, other: TaskOutput) -> float:
    difference = one.pixels.array.astype(float) - other.pixels.array
    return float(10 * np.log10(255**2 / max(np.mean(difference**2), 1e-9)))


MATRICES = arrays(
    np.float32, st.tuples(st.integers(1, 5), st.integers(1, 9)),
    elements=st.floats(-60000, 60000, width=32),
)  # fmt: skip


@given(matrix=MATRICES, precision=st.sampled_from(DenoiserPrecision))
@settings(deadline=None)
def test_no_number_is_further_off_than_its_format_allows(
    matrix: np.ndarray, precision: DenoiserPrecision
) -> None:
    x = torch.from_numpy(matrix)
    rows = TorchRows(FORMATS[precision])
    found = rows.scaled(x)
    off = (found.values.float() * found.scales - x).abs()
    # int8: half a step. E4M3: three bits of mantissa, and steps of 2**-9 where numbers are smallest.
    step = found.scales / 2 if precision is INT8 else x.abs() / 16 + found.scales / 2**10
    assert (off <= step * 1.001).all()
    for k in range(len(x)):  # what shares a batch with a row changes nothing of it
        alone = rows.scaled(x[k : k + 1])
        assert torch.equal(alone.values.float(), found.values[k : k + 1].float())
        assert torch.equal(alone.scales, found.scales[k : k + 1])


class _Wrong(TorchRows):
    def gated(self, x: torch.Tensor, bias: torch.Tensor | None) -> Rows:
        return super().gated(x, None)


def test_kernels_that_are_wrong_are_found_out() -> None:
    for dtype in FORMATS.values():
        assert works(TorchRows(dtype), torch.device("cpu"))
        assert not works(_Wrong(dtype), torch.device("cpu"))


@pytest.mark.parametrize(
    "name",
    ["stable_diffusion", "stable_diffusion_2", "stable_diffusion_xl", "stable_diffusion_3", "flux", "flux_2_klein",
     "z_image", "qwen_image", "pixart_alpha"],
)  # fmt: skip
def test_pictures_stay_close_and_others_keep_their_bits(tmp_path: Path, name: str) -> None:
    save_tiny_family(name, tmp_path / "model")
    recorder = Recorder()
    workshop = emulated(operations=TorchOperations(), backend=recorder)
    runtime = LocalRuntime(str(tmp_path / "model"), "cpu", tmp_path, workshop=workshop)
    plain = paint(runtime)
    recorded = []
    for precision in DenoiserPrecision:
        before = recorder.recorded
        output = paint(runtime, precision)
        assert output.recipe["denoiser_precision"] == precision.value
        assert precision.value in output.recipe["kernels"]
        assert not same(output, plain)
        assert decibels(output, plain) >= FEWEST_DECIBELS[precision]
        assert same(paint(runtime, precision), output), "the same bits each time"
        recorded.append(recorder.recorded - before)
    assert recorded[0] == recorded[1] >= 1, "a graph stands for one precision"
    again = paint(runtime)
    assert same(again, plain)
    assert "denoiser_precision" not in again.recipe
    model = runtime._model(runtime._catalogue.configured)
    assert not [it for it in model.denoiser.modules() if "forward" in vars(it)]


def test_a_lora_acts_beside_it_and_nothing_of_it_stays(tmp_path: Path) -> None:
    adapters = tmp_path / "adapters"
    adapters.mkdir()
    save_file(diffusers_lora(make_tiny_pipeline(), 0), adapters / "moss.safetensors")
    runtime = LocalRuntime("tiny", "cpu", tmp_path, workshop=emulated(backend=Recorder()))
    lora = (Adapter(kind=AdapterKind.LORA, name="moss", weight=0.1),)
    before = paint(runtime, INT8)
    worn, plain = paint(runtime, INT8, adapters=lora), paint(runtime, adapters=lora)
    assert decibels(worn, plain) >= FEWEST_DECIBELS[INT8]
    assert decibels(worn, before) < FEWEST_DECIBELS[INT8]
    assert decibels(paint(runtime, INT8), before) >= FEWEST_DECIBELS[INT8]


def test_a_look_acts_beside_it(tmp_path: Path) -> None:
    name = "stable_diffusion"
    pipeline = save_tiny_family(name, tmp_path / "models" / name)
    save_ip_adapter(tmp_path / "references" / name, pipeline.unet, "plain")
    runtime = LocalRuntime(name, "cpu", tmp_path, workshop=emulated(operations=TorchOperations()))
    looks = (ReferenceImage(image="look", weight=1.0),)
    before = paint(runtime, INT8)
    seen, plain = (
        paint(runtime, it, reference_images=looks, guidance_scale=5.0) for it in (INT8, None)
    )
    without = paint(runtime, guidance_scale=5.0)
    assert decibels(seen, plain) >= FEWEST_DECIBELS[INT8] > decibels(plain, without)
    assert same(paint(runtime, INT8), before)


def refusal(runtime: LocalRuntime, precision: DenoiserPrecision, **more: Any) -> str:
    with pytest.raises(InvalidRequest) as refused:
        paint(runtime, precision, **more)
    assert refused.value.field == "parameters.denoiser_precision"
    return str(refused.value)


@pytest.mark.parametrize(
    ("family", "workshop", "more", "complaint"),
    [
        ("stable_diffusion", Workshop(), {}, "cannot paint in fp8: it needs an NVIDIA GPU"),
        ("sana", emulated(), {}, "loses too much in fp8"),
        ("flux", emulated(), {"block_cache": 0.1}, "A block cache and fp8 cannot be had together"),
    ],
    ids=["processor", "linear attention", "block cache"],
)
def test_where_it_cannot_be_had_one_sentence_says_why(
    tmp_path: Path, family: str, workshop: Workshop, more: dict[str, Any], complaint: str
) -> None:
    save_tiny_family(family, tmp_path / "model")
    runtime = LocalRuntime(str(tmp_path / "model"), "cpu", tmp_path, workshop=workshop)
    assert complaint in refusal(runtime, FP8, **more)


@pytest.mark.parametrize(
    ("capability", "precision", "complaint"),
    [((8, 6), "fp8", "8.9 or higher, and this one has 8.6"), ((7, 5), "int8", "8.0 or higher")],
    ids=["fp8", "int8"],
)
def test_cards_without_the_format_are_told(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], precision: str, complaint: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    with pytest.raises(NoLowPrecision, match=complaint):
        row_operations(torch.device("cuda:0"), precision)


def test_its_weights_go_when_memory_runs_out(tmp_path: Path) -> None:
    runtime = LocalRuntime("tiny", "cpu", tmp_path, workshop=emulated())
    plain = paint(runtime)
    tiers = runtime._model("tiny").tiers
    assert tiers.precisions.size == 0, "nothing before it is asked for"
    paint(runtime, INT8)
    weights = sum(it.weight.numel() for it in tiers.precisions._made["int8"]._weights)
    assert weights <= tiers.precisions.size <= 1.2 * weights, "one byte each, and scales"
    assert tiers.release()
    assert tiers.precisions.size == 0
    assert "There is no room" in refusal(runtime, INT8)
    assert same(paint(runtime), plain)
    assert not tiers.release(), "or memory would run out for ever"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", DenoiserPrecision, ids=str)
def test_on_a_device(tmp_path: Path, precision: DenoiserPrecision) -> None:
    try:
        row_operations(torch.device("cuda:0"), precision.value)
    except NoLowPrecision as error:
        pytest.skip(str(error))
    runtime = LocalRuntime("tiny", "cuda", tmp_path)
    plain = paint(runtime)
    pictures = [paint(runtime, precision) for _ in range(3)]
    assert all(same(it, pictures[0]) for it in pictures)
    assert decibels(pictures[0], plain) >= FEWEST_DECIBELS[precision]
    assert same(paint(runtime), plain)
