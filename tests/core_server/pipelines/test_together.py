"""Pictures painted at once by the real runtime on a CPU: each is the one it would be alone, but for the last bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core_server.canvas.geometry import Extent
from core_server.canvas.plan import SeamlessAxes
from core_server.errors import InvalidRequest, TaskCancelled
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.request import Adapter, AdapterKind, Parameters, TextToImage
from core_server.pipelines.task import StepProgress, TaskOutput, Wish
from tests.core_server.pipelines.conftest import quiet
from tests.core_server.pipelines.tiny_families import save_tiny_family
from tests.core_server.pipelines.tiny_loras import diffusers_lora

DECIBELS = 40.0
PROMPTS = ("moss", "a (red:1.3) brick", "{oak|pine} planks", "sand")


def requests(**changes: Any) -> list[TextToImage]:
    return [
        TextToImage(
            parameters=Parameters(
                **{"prompt": prompt, "seed": 10 * number, "num_inference_steps": 2, **changes}
            ),
            extent=Extent(70, 61),
        )
        for number, prompt in enumerate(PROMPTS)
    ]


def likeness(one: TaskOutput, other: TaskOutput) -> float:
    """PSNR in dB; 99 for equal ones."""
    difference = one.pixels.array.astype(float) - other.pixels.array
    error = float(np.mean(difference**2))
    return 99.0 if error == 0 else 10 * np.log10(255**2 / error)


def together(
    runtime: Any, many: Sequence[TextToImage], pictures: int = 4, on_step: Any = quiet
) -> list[Any]:
    return list(runtime.run_together([Wish(it, on_step) for it in many], pictures))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"scheduler": "euler_a"},
        {"scheduler": "dpmpp_sde_karras"},
        {"scheduler": "heun", "guidance_scale": 1.0},
        {"seamless": SeamlessAxes.XY, "negative_prompt": "text"},
    ],
    ids=["default", "ancestral", "SDE", "two calls a step, no guidance", "seamless, negative"],
)
def test_each_is_the_picture_it_would_be_alone(runtime: Any, changes: dict[str, Any]) -> None:
    """Words, wildcards, seeds and noise are a picture's own; the recipe repeats it but for `batch`."""
    many = requests(**changes)
    alone = [runtime.run(it, {}, quiet)[0] for it in many]
    for single, [output] in zip(alone, together(runtime, many), strict=True):
        assert likeness(single, output) >= DECIBELS
        assert output.seed == single.seed
        assert output.recipe["batch"] == 4
        told = {key: value for key, value in output.recipe.items() if key in single.recipe}
        measured = ("seam_ratio", "seam_ratio_inside")
        assert {key: value for key, value in told.items() if key not in measured} == {
            key: value for key, value in single.recipe.items() if key not in measured
        }
        assert "batch" not in single.recipe


def test_variations_of_one_job_and_a_rest_that_is_smaller(runtime: Any) -> None:
    """Three pictures, two at most: two at once and one alone, with one count of steps over both."""
    first = requests()[0]
    request = msgspec.structs.replace(
        first, parameters=msgspec.structs.replace(first.parameters, count=3)
    )
    seen: list[StepProgress] = []
    alone = runtime.run(request, {}, quiet)
    [outputs] = together(runtime, [request], 2, seen.append)
    assert [it.recipe.get("batch", 1) for it in outputs] == [2, 2, 1]
    for single, output in zip(alone, outputs, strict=True):
        assert likeness(single, output) >= DECIBELS
        assert output.seed == single.seed
    assert np.array_equal(alone[2].pixels.array, outputs[2].pixels.array), "alone means as ever"
    assert {it.steps for it in seen} == {4}
    assert [it.step for it in seen if it.stage == "Painting"] == [0, 1, 2, 2, 3, 4]


def test_previews_and_the_end_of_one_are_its_own(runtime: Any) -> None:
    """The second one is cancelled at its first step; each other one sees its own picture on the way."""
    many = requests()
    previews: dict[int, Any] = {}

    def step_of(number: int) -> Callable[[StepProgress], None]:
        def on_step(progress: StepProgress) -> None:
            if number == 1 and progress.step == 1:
                raise TaskCancelled
            if progress.preview is not None:
                previews.setdefault(number, progress.preview)

        return on_step

    outcomes = list(runtime.run_together([Wish(it, step_of(k)) for k, it in enumerate(many)], 4))
    assert isinstance(outcomes[1], TaskCancelled)
    assert sorted(previews) == [0, 2, 3]
    assert not np.array_equal(previews[0], previews[2])
    for number in (0, 2, 3):
        [output] = outcomes[number]
        assert likeness(runtime.run(many[number], {}, quiet)[0], output) >= DECIBELS


def test_when_all_are_cancelled_nothing_more_is_painted(runtime: Any) -> None:
    steps: list[int] = []

    def on_step(progress: StepProgress) -> None:
        steps.append(progress.step)
        raise TaskCancelled

    outcomes = together(runtime, requests(), 4, on_step)
    assert all(isinstance(it, TaskCancelled) for it in outcomes)
    assert set(steps) == {0}


def test_out_of_memory_half_as_many_then_alone(runtime: Any) -> None:
    """And it is said to each of them, once for each time."""
    many, said, fails = requests(), [], [4, 2]

    def on_step(progress: StepProgress) -> None:
        said.append(progress.stage)
        if progress.stage == "Painting" and progress.step == 1 and fails:
            fails.pop()
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    outcomes = together(runtime, many, 4, on_step)
    told = [stage for stage in said if "Out of memory" in stage]
    assert told[:4] == ["Out of memory; trying again with 2 pictures at once"] * 4
    assert told[4:] == ["Out of memory; trying again with one picture at a time"] * 4
    for request, [output] in zip(many, outcomes, strict=True):
        assert "batch" not in output.recipe
        alone = runtime.run(request, {}, quiet)[0]
        assert np.array_equal(alone.pixels.array, output.pixels.array), "alone means as ever"


def test_a_request_that_cannot_be_done_is_refused_alone(runtime: Any) -> None:
    many = requests()
    bad = msgspec.structs.replace(
        many[1], parameters=msgspec.structs.replace(many[1].parameters, prompt=" ")
    )
    refused, *rest = together(runtime, [bad, many[0], many[2]])
    assert isinstance(refused, InvalidRequest)
    assert [it.recipe["batch"] for [it] in rest] == [2, 2]


def test_words_of_other_lengths_are_painted_alone(runtime: Any) -> None:
    """A prompt of two windows has more tokens than its neighbour's."""
    many = requests()[:2]
    wordy = msgspec.structs.replace(
        many[0], parameters=msgspec.structs.replace(many[0].parameters, prompt="moss " * 100)
    )
    for request, [output] in zip(
        [wordy, many[1]], together(runtime, [wordy, many[1]]), strict=True
    ):
        alone = runtime.run(request, {}, quiet)[0]
        assert np.array_equal(alone.pixels.array, output.pixels.array)


def test_two_text_encoders_and_a_lora_in_common(tmp_path: Path) -> None:
    """Stable Diffusion XL, with and without a negative prompt; the LoRA is told of and gone afterwards."""
    pipeline = save_tiny_family("stable_diffusion_xl", tmp_path / "models" / "xl")
    (tmp_path / "adapters").mkdir()
    save_file(diffusers_lora(pipeline, 3), tmp_path / "adapters" / "ink.safetensors")
    runtime = LocalRuntime("xl", "cpu", tmp_path)
    runtime.load("xl")
    assert runtime.info().together == ("xl",)
    inked = (Adapter(kind=AdapterKind.LORA, name="ink", weight=0.8),)
    for adapters in ((), inked, ()):
        many = [
            TextToImage(
                parameters=Parameters(
                    prompt=prompt, negative_prompt=negative, seed=seed, num_inference_steps=2,
                    adapters=adapters,
                ),
                extent=Extent(64, 64),
            )
            for prompt, negative, seed in (("moss", "", 1), ("brick", "grass", 2))
        ]  # fmt: skip
        alone = [runtime.run(it, {}, quiet)[0] for it in many]
        for single, [output] in zip(alone, together(runtime, many), strict=True):
            assert likeness(single, output) >= DECIBELS
            assert output.recipe == single.recipe | {"batch": 2}
