"""LoRAs, textual inversions, weights and long prompts: equal to stock diffusers, and gone after the job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core_server.canvas.geometry import Extent
from core_server.canvas.plan import SeamlessAxes
from core_server.errors import InvalidRequest
from core_server.pipelines import adapter_rack
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.request import Adapter, AdapterKind, Parameters, TextToImage
from core_server.pipelines.tiny import make_tiny_pipeline
from tests.core_server.pipelines.conftest import quiet
from tests.core_server.pipelines.tiny_loras import diffusers_lora, kohya

LORA, WORD = AdapterKind.LORA, AdapterKind.TEXTUAL_INVERSION
STEPS = 2


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    adapters = folder / "adapters"
    adapters.mkdir()
    tiny = make_tiny_pipeline()
    for k, name in enumerate(("moss", "rust", "snow")):
        save_file(diffusers_lora(tiny, k), adapters / f"{name}.safetensors")
    save_file(kohya(diffusers_lora(tiny, 0)), adapters / "moss-kohya.safetensors")
    sdxl = {
        "lora_unet_down_blocks_1_attentions_0_attn2_to_k.lora_down.weight": torch.zeros(4, 2048)
    }
    save_file(sdxl, adapters / "xl.safetensors")
    wrong = {k: torch.zeros(2, 5) for k in diffusers_lora(tiny, 0) if "unet" in k}
    save_file(wrong, adapters / "wrong.safetensors")
    vectors = torch.randn(3, 32, generator=torch.Generator().manual_seed(5))
    save_file({"emb_params": vectors}, adapters / "glow.safetensors")
    save_file({"emb_params": torch.zeros(1, 768)}, adapters / "wide.safetensors")
    (adapters / "old.pt").write_bytes(b"\x80\x02}q")
    return folder


@pytest.fixture(scope="module")
def runtime(data_dir: Path) -> LocalRuntime:
    return LocalRuntime("tiny", "cpu", data_dir)


def paint(runtime: LocalRuntime, prompt: str = "mossy wall", **more: Any) -> Any:
    extent = more.pop("extent", Extent(32, 32))
    parameters = Parameters(prompt=prompt, num_inference_steps=STEPS, seed=3, **more)
    [output] = runtime.run(TextToImage(parameters=parameters, extent=extent), {}, quiet)
    return output


def adapters(*wanted: tuple[str, float], kind: AdapterKind = LORA) -> tuple[Adapter, ...]:
    return tuple(Adapter(kind=kind, name=name, weight=weight) for name, weight in wanted)


def stock(change: Any, prompt: str = "mossy wall", **more: Any) -> np.ndarray:
    """The stock pipeline's picture after `change(pipeline)`."""
    pipeline = make_tiny_pipeline()
    pipeline.set_progress_bar_config(disable=True)
    arguments = change(pipeline) or {}
    [image] = pipeline(
        **({} if "prompt_embeds" in arguments else {"prompt": prompt}),
        width=32,
        height=32,
        num_inference_steps=STEPS,
        guidance_scale=5.0,
        generator=torch.Generator("cpu").manual_seed(3),
        output_type="np",
        **arguments,
        **more,
    ).images
    return (image * 255).round().astype(np.uint8)


def test_two_loras_are_stock_diffusers_bit_for_bit(runtime: LocalRuntime, data_dir: Path) -> None:
    def change(pipeline: Any) -> None:
        for name in ("moss", "rust"):
            pipeline.load_lora_weights(
                data_dir / "adapters" / f"{name}.safetensors", adapter_name=name
            )
        pipeline.set_adapters(["moss", "rust"], [0.8, -0.5])

    output = paint(runtime, adapters=adapters(("moss", 0.8), ("rust", -0.5)))
    assert np.array_equal(output.pixels.array, stock(change))
    moss, rust = output.recipe["adapters"]
    assert (moss["name"], moss["weight"], len(moss["sha256"])) == ("moss", 0.8, 64)
    assert rust["kind"] == "lora"
    kohya = paint(runtime, adapters=adapters(("moss-kohya", 0.8), ("rust", -0.5)))
    assert np.array_equal(kohya.pixels.array, output.pixels.array)
    assert not np.array_equal(paint(runtime).pixels.array, output.pixels.array)


def test_a_textual_inversion_is_stock_diffusers_bit_for_bit(
    runtime: LocalRuntime, data_dir: Path
) -> None:
    def change(pipeline: Any) -> None:
        path = data_dir / "adapters" / "glow.safetensors"
        torch.manual_seed(0)
        pipeline.load_textual_inversion(str(path), token="<glow>")

    wanted = adapters(("glow", 1.0), kind=WORD)
    output = paint(runtime, "a <glow> wall", adapters=wanted)
    assert np.array_equal(output.pixels.array, stock(change, "a <glow> wall"))
    plain = paint(runtime, "a glow wall", adapters=wanted)
    assert np.array_equal(plain.pixels.array, output.pixels.array), "the plain name works too"
    assert plain.recipe["prompt"] == "a <glow> wall"
    weaker = paint(runtime, "a <glow> wall", adapters=adapters(("glow", 0.5), kind=WORD))
    assert not np.array_equal(weaker.pixels.array, output.pixels.array)
    unused = paint(runtime, "a wall", adapters=wanted)
    assert any("write <glow>" in note for note in unused.recipe["notes"])
    assert np.array_equal(unused.pixels.array, paint(runtime, "a wall").pixels.array)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (adapters(("gone", 1)), "There is no LoRA 'gone'.*there are moss"),
        (adapters(("xl", 1)), "was made for SDXL and does not fit Stable Diffusion 1.x"),
        (adapters(("wrong", 1)), "does not fit this model"),
        (adapters(("glow", 1)), "'glow' is a textual inversion, not a LoRA"),
        (adapters(("wide", 1), kind=WORD), "vectors of 768 numbers and .* reads 32"),
        (adapters(("old", 1), kind=WORD), "is a pickle.*torch.load"),
        (adapters(("old.pt", 1)), "is a pickle"),
        (adapters(("../secret", 1)), "no name of a LoRA"),
        (adapters(("/etc/passwd", 1)), "no name of a LoRA"),
    ],
)
def test_adapters_that_do_not_fit(runtime: LocalRuntime, wanted: Any, words: str) -> None:
    before = paint(runtime).pixels.array
    with pytest.raises(InvalidRequest, match=words) as caught:
        paint(runtime, "a <wide> wall", adapters=wanted)
    assert "\n" not in caught.value.message
    assert np.array_equal(paint(runtime).pixels.array, before), "nothing of it stays"


def test_nothing_leaks_between_jobs(runtime: LocalRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mix of LoRAs, words, tiles, sizes and weights; each first picture comes again at the end, bit for bit."""
    monkeypatch.setattr(adapter_rack, "MAX_KEPT", 2)
    kinds: list[dict[str, Any]] = [
        {},
        {"adapters": adapters(("moss", 1.0))},
        {"adapters": adapters(("rust", 0.3), ("snow", -1.0))},
        {"prompt": "a <glow> wall", "adapters": adapters(("glow", 1.0), kind=WORD)},
        {"seamless": SeamlessAxes.XY},
        {"adapters": adapters(("snow", 2.0)), "seamless": SeamlessAxes.X},
        {"extent": Extent(48, 32)},
        {"prompt": "a (mossy:1.4) wall"},
        {"prompt": "{oak|pine} wall"},
    ]
    first = [paint(runtime, **dict(kind)).pixels.array for kind in kinds]
    rng = np.random.default_rng(0)
    for k in rng.integers(0, len(kinds), 30):
        again = paint(runtime, **dict(kinds[k])).pixels.array
        assert np.array_equal(again, first[k]), kinds[k]
    for kind, picture in zip(kinds, first, strict=True):
        assert np.array_equal(paint(runtime, **dict(kind)).pixels.array, picture), kind
    rack = runtime._keeper.loaded["tiny"].rack
    assert rack is not None
    assert len(rack._kept) <= 2


def _embeds(pipeline: Any, *texts: str) -> torch.Tensor:
    found = [pipeline.encode_prompt(text, "cpu", 1, False)[0] for text in texts]
    return torch.cat(found, dim=1)


def test_long_prompts_are_read_window_by_window(runtime: LocalRuntime) -> None:
    """The tiny tokenizer reads letter by letter: 75 a window."""
    first, second = " ".join("a" * 75), " ".join("b" * 20)

    def change(pipeline: Any) -> dict[str, torch.Tensor]:
        return {
            "prompt_embeds": _embeds(pipeline, first, second),
            "negative_prompt_embeds": _embeds(pipeline, "", ""),
        }

    output = paint(runtime, f"{first} {second}")
    assert np.array_equal(output.pixels.array, stock(change))
    assert not any("read the first" in note for note in output.recipe["notes"])


def test_weights_move_the_embedding_from_the_empty_one(runtime: LocalRuntime) -> None:
    def change(pipeline: Any) -> dict[str, torch.Tensor]:
        hidden, empty = _embeds(pipeline, "ab c"), _embeds(pipeline, "")
        count = len(pipeline.tokenizer("ab").input_ids) - 2
        factor = torch.ones(1, hidden.shape[1], 1)
        factor[:, 1 : 1 + count] = 1.5
        weighted = torch.where(factor == 1, hidden, empty + (hidden - empty) * factor)
        return {"prompt_embeds": weighted, "negative_prompt_embeds": empty}

    output = paint(runtime, "(ab:1.5) c")
    assert np.array_equal(output.pixels.array, stock(change))
    assert output.recipe["prompt"] == "(ab:1.5) c"
    one = paint(runtime, "(ab:1.0) c").pixels.array
    assert np.array_equal(one, paint(runtime, "ab c").pixels.array)


def test_wildcards_and_styles_are_in_the_recipe(runtime: LocalRuntime) -> None:
    request = TextToImage(
        parameters=Parameters(prompt="{oak|pine|elm|fir} wall", style="watercolour", seed=0, count=6,
                              num_inference_steps=1),
        extent=Extent(32, 32),
    )  # fmt: skip
    outputs = runtime.run(request, {}, quiet)
    prompts = [it.recipe["prompt"] for it in outputs]
    assert len(set(prompts)) > 1
    recipe = outputs[4].recipe
    assert recipe["style"] == "watercolour"
    assert recipe["prompt_without_style"] == "{oak|pine|elm|fir} wall"
    again = Parameters(
        prompt=recipe["prompt"],
        negative_prompt=recipe["negative_prompt"],
        seed=4,
        num_inference_steps=1,
    )
    [repeated] = runtime.run(TextToImage(parameters=again, extent=Extent(32, 32)), {}, quiet)
    assert np.array_equal(repeated.pixels.array, outputs[4].pixels.array), "image k is seed + k's"
