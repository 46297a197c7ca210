"""Prompts are encoded once, and never taken for others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from core_server.canvas.geometry import Extent
from core_server.pipelines.conditioning import prompt_arguments
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.prompts import PromptCache
from core_server.pipelines.request import Adapter, AdapterKind, Parameters, TextToImage
from core_server.pipelines.settings import settle
from core_server.pipelines.tiny import make_tiny_pipeline
from tests.core_server.pipelines.conftest import quiet
from tests.core_server.pipelines.test_adapters import diffusers_lora
from tests.core_server.pipelines.tiny_families import save_tiny_family


def asked(prompt: str, **changes: Any) -> TextToImage:
    given = {"num_inference_steps": 2, "seed": 3, **changes}
    return TextToImage(parameters=Parameters(prompt=prompt, **given), extent=Extent(32, 32))


def test_a_prompt_is_encoded_once_and_not_for_adapters(tmp_path: Path) -> None:
    (tmp_path / "adapters").mkdir()
    save_file(diffusers_lora(make_tiny_pipeline(), 0), tmp_path / "adapters" / "rough.safetensors")
    runtime = LocalRuntime("tiny", "cpu", tmp_path)
    rough = (Adapter(kind=AdapterKind.LORA, name="rough", weight=1.0),)
    jobs = [
        asked("moss"),
        asked("moss", adapters=rough),
        asked("moss", negative_prompt="red"),
        asked("moss", guidance_scale=1.0),
        asked("moss", scheduler="ddim"),
        asked("moss"),
    ]
    found = [runtime.run(job, {}, quiet)[0].pixels.array for job in jobs]
    cache = runtime._model("tiny").prompts
    assert (cache.misses, cache.hits) == (3, 2)
    for job, array in zip(jobs, found, strict=True):
        alone = LocalRuntime("tiny", "cpu", tmp_path).run(job, {}, quiet)[0]
        assert (alone.pixels.array == array).all()


LONG = [
    # family, letters that it reads at most, whether the pipeline must be told to read so many
    ("flux", 512, False),
    ("stable_diffusion_3", 512, True),
    ("qwen_image", 1024, True),
    ("pixart_alpha", 120, False),
]


@pytest.mark.parametrize(("family", "most", "told"), LONG)
def test_long_prompts_of_encoders_that_read_sentences(
    tmp_path: Path, family: str, most: int, *, told: bool
) -> None:
    """The last words that fit change the picture, what is beyond it changes nothing and is noted; the tiny tokenizers
    read letter by letter. No note where all was read, whatever CLIP beside it read."""
    save_tiny_family(family, tmp_path / "models" / family)
    runtime = LocalRuntime(family, "cpu", tmp_path)

    def paint(letters: int, last: str) -> Any:
        words = "a" * (letters - 20) + 20 * last
        request = TextToImage(
            parameters=Parameters(prompt=words, num_inference_steps=2, seed=3, guidance_scale=2.0),
            extent=Extent(64, 64),
        )
        [output] = runtime.run(request, {}, quiet)
        return output

    inside = min(most - 40, 600)  # Qwen-Image's own words around it are letters here, too
    same, other = paint(inside, "b"), paint(inside, "c")
    assert (same.pixels.array != other.pixels.array).any()
    assert not any("tokens" in note for note in same.recipe["notes"])
    beyond = [paint(most + 40, it) for it in "bc"]
    assert (beyond[0].pixels.array == beyond[1].pixels.array).all()
    assert any(f"this model read the first {most}" in it for it in beyond[0].recipe["notes"])
    model = runtime._model("")
    settings = settle(asked("a" * inside), model.profile)
    found = prompt_arguments(model, None, settings)
    assert found == ({"max_sequence_length": most} if told else {})


READERS = ("pixart_sigma", "sana", "qwen_image", "z_image", "stable_diffusion_3", "flux")


@pytest.mark.parametrize("family", READERS)
def test_weights_that_cannot_act_change_nothing_else(tmp_path: Path, family: str) -> None:
    """Without a negative prompt, too, which these families word each in their own way."""
    save_tiny_family(family, tmp_path / "models" / family)
    runtime = LocalRuntime(family, "cpu", tmp_path)
    weighted, bare = (
        runtime.run(asked(words, guidance_scale=3.0), {}, quiet)[0]
        for words in ("a (mossy:1.5) wall", "a mossy wall")
    )
    assert (weighted.pixels.array == bare.pixels.array).all()
    assert any("had no effect" in note for note in weighted.recipe["notes"])


class _Pipeline:
    def __init__(self) -> None:
        self.calls = 0

    def encode_prompt(self, prompt: str, **_: Any) -> tuple[torch.Tensor, None]:
        self.calls += 1
        return torch.full((1, 4), float(len(prompt))), None


def test_what_was_written_into_is_encoded_anew() -> None:
    cache, pipeline = PromptCache(), _Pipeline()
    with cache.used_by(pipeline):
        first, _ = pipeline.encode_prompt("moss", device="cpu")
        first += 1
        again, _ = pipeline.encode_prompt("moss", device="cpu")
        assert again.tolist() == [[4.0] * 4]
        pipeline.encode_prompt("moss", prompt_embeds=first)
        assert pipeline.calls == 3
        cache.max_bytes = 40
        for text in ("a", "bb", "ccc"):
            pipeline.encode_prompt(text)
        assert cache.size <= 40
    assert "encode_prompt" not in vars(pipeline)
