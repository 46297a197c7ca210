"""Faster with a named loss: what is left out is what was asked for, and nothing where nothing was."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.callbacks import SDCFGCutoffCallback
from diffusers.models.cache_utils import CacheMixin

from core_server.canvas.geometry import Extent
from core_server.commands.options import (
    add_generation_options,
    add_server_options,
    common_settings,
)
from core_server.errors import InvalidRequest
from core_server.pipelines.families.registry import FAMILIES
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.request import ImageToImage, Parameters, TextToImage
from core_server.pipelines.runtime import create_runtime
from core_server.pipelines.task import TaskOutput
from core_server.pipelines.tiers.workshop import Workshop
from tests.core_server.pipelines.conftest import picture, quiet
from tests.core_server.pipelines.tiers.recorder import Recorder
from tests.core_server.pipelines.tiny_families import save_tiny_family

STEPS = 8


def paint(runtime: Any, **changes: Any) -> TaskOutput:
    parameters = Parameters(
        **{"prompt": "moss", "num_inference_steps": STEPS, "seed": 3, "guidance_scale": 6.0, **changes}
    )  # fmt: skip
    request = TextToImage(parameters=parameters, extent=Extent(64, 64))
    [output] = runtime.run(request, {}, quiet)
    return output


class Rows:
    """How many rows each call of a denoiser had."""

    def __init__(self, denoiser: torch.nn.Module) -> None:
        self.seen: list[int] = []
        self._denoiser = denoiser

    def __enter__(self) -> list[int]:
        first = next(it for it in self._denoiser.modules() if isinstance(it, torch.nn.Conv2d))
        self._hook = first.register_forward_hook(
            lambda _m, given, _r: self.seen.append(given[0].shape[0])
        )
        return self.seen

    def __exit__(self, *_: object) -> None:
        self._hook.remove()


@pytest.mark.parametrize(("share", "guided"), [(1.0, 8), (0.5, 4), (0.51, 5), (0.01, 1)], ids=str)
def test_so_many_steps_are_guided(runtime: Any, share: float, guided: int) -> None:
    with Rows(runtime._model("tiny").denoiser) as rows:
        output = paint(runtime, guidance_end=share)
    assert rows == [2] * guided + [1] * (STEPS - guided)
    assert output.recipe.get("guidance_end", 1.0) == share
    whole = paint(runtime)
    assert np.array_equal(output.pixels.array, whole.pixels.array) == (guided == STEPS)
    assert "guidance_end" not in whole.recipe


def test_it_is_what_diffusers_own_cutoff_gives(runtime: Any, stock: Any) -> None:
    profile = runtime._model("tiny").profile
    pipeline = stock("StableDiffusionPipeline", profile.scheduler)
    expected = pipeline(
        "moss", width=64, height=64, num_inference_steps=STEPS, guidance_scale=6.0, output_type="np",
        generator=torch.Generator("cpu").manual_seed(3),
        callback_on_step_end=SDCFGCutoffCallback(cutoff_step_ratio=0.375),
        callback_on_step_end_tensor_inputs=["prompt_embeds"],
    ).images[0]  # fmt: skip
    ours = paint(runtime, guidance_end=0.5).pixels.array / 255
    assert np.abs(ours - expected).max() < 0.02


def test_of_a_repainted_picture_the_steps_really_run_count(runtime: Any) -> None:
    parameters = Parameters(
        prompt="moss", num_inference_steps=8, seed=3, guidance_scale=6.0, guidance_end=0.5
    )
    request = ImageToImage(parameters=parameters, image="a", strength=0.5)
    with Rows(runtime._model("tiny").denoiser) as rows:
        [output] = runtime.run(request, {"a": picture(64, 64)}, quiet)
    assert rows == [2, 2, 1, 1]
    assert output.recipe["steps_run"] == 4


def test_graphs_of_both_shapes_stand_side_by_side(tmp_path: Path) -> None:
    recorder = Recorder()
    graphed, eager = (
        LocalRuntime("tiny", "cpu", tmp_path, workshop=shop)
        for shop in (Workshop(backend=recorder), Workshop())
    )
    for share in (0.5, 1.0, 0.5):
        found, expected = (paint(it, guidance_end=share) for it in (graphed, eager))
        assert np.array_equal(found.pixels.array, expected.pixels.array)
    assert recorder.recorded == 2


def test_without_guidance_there_is_nothing_to_end(runtime: Any) -> None:
    output = paint(runtime, guidance_scale=1.0, guidance_end=0.5)
    assert any("guidance_end had no effect" in note for note in output.recipe["notes"])


def test_the_first_block_decides_and_nothing_stays(tmp_path: Path) -> None:
    save_tiny_family("flux", tmp_path / "model")
    recorder = Recorder()
    runtime = LocalRuntime(
        str(tmp_path / "model"), "cpu", tmp_path, workshop=Workshop(backend=recorder)
    )
    whole = paint(runtime).pixels.array
    denoiser = runtime._model(runtime._catalogue.configured).denoiser
    calls = []
    last = denoiser.single_transformer_blocks[-1]
    hook = last.attn.register_forward_hook(lambda *_: calls.append(1))
    cached = paint(runtime, block_cache=1.0)
    hook.remove()
    assert len(calls) < STEPS, "blocks were left out"
    assert cached.recipe["block_cache"] == 1.0
    assert cached.recipe["launched"] == "eager"
    assert not np.array_equal(cached.pixels.array, whole)
    assert np.array_equal(paint(runtime, block_cache=1.0).pixels.array, cached.pixels.array)
    assert np.array_equal(paint(runtime).pixels.array, whole)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_tells_how_its_models_can_be_faster(name: str) -> None:
    """As the denoiser of its pipelines is: what clients offer is what `pipelines.shortcuts` lets through."""
    family = FAMILIES[name]
    [denoiser] = getattr(diffusers, next(iter(family.classes())))._get_signature_types()[
        family.denoiser
    ]
    told = family.shortcuts
    assert ("block_cache" in told) == issubclass(denoiser, CacheMixin)
    assert ("guidance_end" in told) == issubclass(denoiser, diffusers.UNet2DConditionModel)
    assert ("denoiser_precision" in told) == ("Sana" not in denoiser.__name__)


def test_a_repeated_recipe_repeats_them_unless_others_are_asked_for() -> None:
    parser = argparse.ArgumentParser()
    add_server_options(parser)
    add_generation_options(parser)
    recipe = {"guidance_end": 0.5, "block_cache": 0.1, "denoiser_precision": "fp8"}
    for given, expected in (
        ([], recipe),
        (["--denoiser-precision", "int8"], recipe | {"denoiser_precision": "int8"}),
        (["--denoiser-precision", "loaded"], recipe | {"denoiser_precision": None}),
    ):
        settings = common_settings(parser.parse_args(given), recipe)
        assert {name: settings[name] for name in recipe} == expected


@pytest.mark.parametrize(
    ("family", "changes", "complaint"),
    [
        ("flux", {"guidance_end": 0.5}, "only models with a UNet"),
        ("stable_diffusion", {"block_cache": 0.1}, "has no block cache"),
        ("stable_diffusion", {"guidance_end": 0.0}, "The share of guided steps is 0"),
        ("stable_diffusion", {"block_cache": 1.5}, "The block cache's threshold is 1.5"),
    ],
    ids=["transformer", "unet", "no step", "beyond"],
)
def test_what_a_model_does_not_have_is_refused(
    family: str, changes: dict[str, float], complaint: str, tmp_path: Path
) -> None:
    save_tiny_family(family, tmp_path / "model")
    runtime = create_runtime(str(tmp_path / "model"), "cpu", tmp_path)
    with pytest.raises(InvalidRequest, match=complaint):
        paint(runtime, **changes)
