"""What Stable Diffusion XL's two text encoders read: textual inversions and long prompts, as in stock diffusers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from core_server.canvas.geometry import Extent
from core_server.errors import InvalidRequest
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.request import Adapter, AdapterKind, Parameters, TextToImage
from tests.core_server.pipelines.conftest import quiet
from tests.core_server.pipelines.tiny_families import make_tiny_family, save_tiny_family

SIDE, STEPS, SEED = 64, 2, 9
GLOW = (Adapter(kind=AdapterKind.TEXTUAL_INVERSION, name="glow", weight=1.0),)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("xl")
    save_tiny_family("stable_diffusion_xl", folder / "models" / "xl")
    rng = torch.Generator().manual_seed(5)
    vectors = {name: torch.randn(2, 32, generator=rng) for name in ("clip_l", "clip_g")}
    (folder / "adapters").mkdir()
    save_file(vectors, folder / "adapters" / "glow.safetensors")
    save_file({"emb_params": vectors["clip_l"]}, folder / "adapters" / "single.safetensors")
    return folder


@pytest.fixture(scope="module")
def runtime(data_dir: Path) -> LocalRuntime:
    return LocalRuntime("xl", "cpu", data_dir)


def paint(runtime: LocalRuntime, prompt: str, **more: Any) -> Any:
    parameters = Parameters(
        prompt=prompt, num_inference_steps=STEPS, guidance_scale=5.0, seed=SEED, **more
    )
    request = TextToImage(parameters=parameters, extent=Extent(SIDE, SIDE))
    [output] = runtime.run(request, {}, quiet)
    return output.pixels.array


def stock(pipeline: Any, **words: Any) -> np.ndarray:
    [image] = pipeline(
        width=SIDE, height=SIDE, num_inference_steps=STEPS, guidance_scale=5.0, output_type="np",
        generator=torch.Generator("cpu").manual_seed(SEED), **words,
    ).images  # fmt: skip
    return (image * 255).round().astype(np.uint8)


def test_a_textual_inversion_is_read_by_both_encoders(
    runtime: LocalRuntime, data_dir: Path
) -> None:
    before = paint(runtime, "a wall")
    found = paint(runtime, "a <glow> wall", adapters=GLOW)
    pipeline = make_tiny_family("stable_diffusion_xl")
    vectors = load_file(data_dir / "adapters" / "glow.safetensors")
    # Tiny tokenizers are one object twice, and the second must not find the first's word.
    pipeline.tokenizer_2 = diffusers.StableDiffusionXLPipeline.from_pretrained(
        data_dir / "models" / "xl"
    ).tokenizer_2
    for name, number in (("clip_l", ""), ("clip_g", "_2")):
        pipeline.load_textual_inversion(
            vectors[name], token="<glow>",
            text_encoder=getattr(pipeline, f"text_encoder{number}"),
            tokenizer=getattr(pipeline, f"tokenizer{number}"),
        )  # fmt: skip
    assert np.array_equal(found, stock(pipeline, prompt="a <glow> wall"))
    assert np.array_equal(paint(runtime, "a wall"), before)
    single = (Adapter(kind=AdapterKind.TEXTUAL_INVERSION, name="single"),)
    with pytest.raises(InvalidRequest, match="one text encoder and this model has two"):
        paint(runtime, "a <single> wall", adapters=single)


def test_long_prompts_are_read_window_by_window(runtime: LocalRuntime) -> None:
    """The tiny tokenizer reads letter by letter, 75 a window; the summary is the first window's."""
    windows = (" ".join("a" * 75), " ".join("b" * 20))
    pipeline = make_tiny_family("stable_diffusion_xl")

    def encoded(text: str) -> tuple[torch.Tensor, torch.Tensor]:
        embeds, _, pooled, _ = pipeline.encode_prompt(text, do_classifier_free_guidance=False)
        return embeds, pooled

    read = [encoded(it) for it in windows]
    nothing = encoded("")
    expected = stock(
        pipeline,
        prompt_embeds=torch.cat([it for it, _ in read], dim=1),
        pooled_prompt_embeds=read[0][1],
        negative_prompt_embeds=torch.cat([nothing[0]] * 2, dim=1),
        negative_pooled_prompt_embeds=nothing[1],
    )
    assert np.array_equal(paint(runtime, " ".join(windows)), expected)
