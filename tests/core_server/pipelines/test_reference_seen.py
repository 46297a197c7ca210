"""Reference images of models that look themselves, and FLUX.1's by an IP-Adapter: as in stock diffusers, everywhere."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file

from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import Pixels
from core_server.canvas.plan import SeamlessAxes
from core_server.errors import InvalidRequest
from core_server.pipelines.denoise import as_tensor, denoise
from core_server.pipelines.families.registry import FAMILIES
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.masked_denoising import inpaint_at_model_size
from core_server.pipelines.outfit import dressed
from core_server.pipelines.progress import StepReporter
from core_server.pipelines.request import (
    ImageToImage,
    Inpaint,
    Parameters,
    ReferenceImage,
    TextToImage,
)
from core_server.pipelines.schedulers import make_scheduler
from core_server.pipelines.settings import settle
from tests.core_server.pipelines.conftest import picture, quiet
from tests.core_server.pipelines.test_families import Zoo
from tests.core_server.pipelines.tiny_references import (
    flux_ip_adapter,
    image_encoder,
    sd3_ip_adapter,
    siglip_encoder,
)

SIDE, STEPS, SEED = 64, 2, 7
T2I, I2I, PAINT = "text_to_image", "image_to_image", "inpaint"
LOOKS = {"a": picture(80, 64), "b": Pixels(255 - picture(64, 96).array)}
START = picture(SIDE, SIDE)
MASK = np.zeros((SIDE, SIDE), np.float32)
MASK[16:48, 16:64] = 1
PIL = {name: Image.fromarray(it.array) for name, it in LOOKS.items()}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.set_num_threads(1)
    return Zoo(tmp_path_factory.mktemp("seeing"))


def asked(*looks: str, weight: float = 0.6, **more: Any) -> Parameters:
    return Parameters(
        prompt="red bricks", num_inference_steps=STEPS, guidance_scale=3.0, seed=SEED,
        reference_images=tuple(ReferenceImage(image=it, weight=weight) for it in looks),
        scheduler="flow_euler", **more,
    )  # fmt: skip


def painted(
    zoo: Any, runtime: LocalRuntime, task: str, parameters: Parameters, strength: float = 0.6
) -> np.ndarray:
    """(height, width, 3) floats 0..1 at the model's size."""
    model = runtime._model("")
    request: Any = TextToImage(parameters=parameters, extent=Extent(SIDE, SIDE))
    if task == I2I:
        request = ImageToImage(parameters=parameters, image="i")
    if task == PAINT:
        request = Inpaint(parameters=parameters, image="i", selection="i")
    settings = settle(request, model.profile)
    common = {"axes": SeamlessAxes.NONE, "reporter": StepReporter(model, quiet, STEPS, 1)}
    start = START.array.astype(np.float32) / 255
    with dressed(model, request, settings, LOOKS, zoo.root) as settings:
        if task == PAINT:
            return inpaint_at_model_size(
                model, settings, SEED, image=start, mask=MASK, strength=strength, **common
            )
        inputs: dict[str, Any] = {"width": SIDE, "height": SIDE}
        if task == I2I:
            inputs = {"image": as_tensor(start), "strength": strength}
        return denoise(task, model, settings, SEED, **common, **inputs)


def stock(class_name: str, pipeline: Any, **arguments: Any) -> np.ndarray:
    made = getattr(diffusers, class_name).from_pipe(pipeline)
    made.set_progress_bar_config(disable=True)
    made.scheduler = make_scheduler("flow_euler", pipeline.scheduler.config)
    words = {
        "negative_prompt": " " if "Qwen" in class_name else None, "guidance_scale": 3.0,
        "true_cfg_scale": 3.0 if "Qwen" in class_name else 1.0,
        "max_area": SIDE * SIDE, "_auto_resize": False, "width": SIDE, "height": SIDE,
        "mask_image": torch.from_numpy(MASK)[None, None], "strength": 0.6, **arguments,
    }  # fmt: skip
    takes = inspect.signature(made.__call__).parameters
    [image] = made(
        prompt="red bricks", num_inference_steps=STEPS, output_type="np",
        generator=torch.Generator("cpu").manual_seed(SEED),
        **{key: value for key, value in words.items() if key in takes},
    ).images  # fmt: skip
    return np.asarray(image)


FIRST = START.array[None].astype(np.float32) / 255
BOTH = [PIL["a"], PIL["b"]]
CASES = [
    ("flux_2_klein", T2I, ("a", "b"), "Flux2KleinPipeline", {"image": BOTH}),
    ("flux_2_klein", PAINT, ("a",), "Flux2KleinInpaintPipeline",
     {"image": FIRST, "image_reference": PIL["a"]}),
    ("flux_2_dev", T2I, ("a", "b"), "Flux2Pipeline", {"image": BOTH}),
    ("flux_kontext", T2I, ("a",), "FluxKontextPipeline", {"image": PIL["a"]}),
    ("flux_kontext", PAINT, ("b",), "FluxKontextInpaintPipeline",
     {"image": FIRST, "image_reference": PIL["b"]}),
    ("qwen_image_edit_plus", T2I, ("a", "b"), "QwenImageEditPlusPipeline", {"image": BOTH}),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda it: "-".join(it[:2]))
def test_what_a_model_sees_is_stock_diffusers(zoo: Any, case: tuple[Any, ...]) -> None:
    family, task, looks, class_name, arguments = case
    runtime, pipeline = zoo(family)
    found = painted(zoo, runtime, task, asked(*looks))
    assert (found == stock(class_name, pipeline, **arguments)).all()
    assert "forward" not in vars(runtime._model("").denoiser)


def test_editing_with_a_reference_is_stock_at_full_strength(zoo: Any) -> None:
    """The picture that is edited comes first, the reference after it."""
    runtime, pipeline = zoo("qwen_image_edit_plus")
    own = Image.fromarray(START.array)
    for looks, seen in (((), own), (("a",), [own, PIL["a"]])):
        found = painted(zoo, runtime, I2I, asked(*looks), strength=1.0)
        assert (found == stock("QwenImageEditPlusPipeline", pipeline, image=seen)).all()


@pytest.mark.parametrize("family", ["flux_2_klein", "flux_2_dev", "flux_kontext"])
def test_references_act_in_every_task_and_tiles(zoo: Any, family: str) -> None:
    runtime, _ = zoo(family)
    for task in (T2I, I2I, PAINT):
        pictures = [painted(zoo, runtime, task, asked(*it)) for it in ((), ("a",), ("b",), ())]
        assert (pictures[0] != pictures[1]).any() and (pictures[1] != pictures[2]).any()
        assert (pictures[0] == pictures[3]).all(), "nothing is left of them"
    tiles = []
    for looks in ((), ("a",)):
        request = TextToImage(
            parameters=asked(*looks, seamless=SeamlessAxes.XY), extent=Extent(SIDE, SIDE)
        )
        [output] = runtime.run(request, LOOKS, quiet)
        tiles.append(output.pixels.array)
    assert (tiles[0] != tiles[1]).any()


def test_what_a_model_cannot_see_is_said(zoo: Any) -> None:
    """Too many, too small, none where one is needed, a weight that nobody reads, a family that looks at nothing."""

    def refused(family: str, task: str, parameters: Parameters, words: str) -> None:
        with pytest.raises(InvalidRequest, match=words):
            painted(zoo, zoo(family)[0], task, parameters)

    refused("flux_kontext", T2I, asked("a", "b"), "reads at most 1 picture; leave some out")
    plus = "qwen_image_edit_plus"
    refused(plus, I2I, asked("a", "b", "a"), "at most 3 pictures and the picture that is edited")
    refused(plus, T2I, asked(), "paints from pictures: give text_to_image at least one reference")
    refused("z_image", T2I, asked("a"), r"do not work with Z-Image; they work with .*FLUX\.2 klein")
    LOOKS["small"] = picture(40, 70)
    try:
        refused("flux_2_klein", T2I, asked("small"), r"40 x 70 px.*at least 64 px a side")
    finally:
        del LOOKS["small"]
    runtime, _ = zoo("flux_2_klein")
    request = TextToImage(parameters=asked("a", weight=0.9), extent=Extent(SIDE, SIDE))
    [output] = runtime.run(request, LOOKS, quiet)
    assert any("weights of reference images had no effect" in it for it in output.recipe["notes"])
    assert output.recipe["reference_images"] == [{"image": "a", "weight": 0.9}]


@pytest.mark.parametrize("xlabs", [False, True], ids=["plain", "xlabs"])
@pytest.mark.parametrize("task", [T2I, I2I, PAINT])
def test_flux_1_has_its_ip_adapter_in_every_task(tmp_path: Path, task: str, xlabs: bool) -> None:
    zoo = Zoo(tmp_path)
    runtime, pipeline = zoo("flux")
    folder = tmp_path / "references" / "look"
    folder.mkdir(parents=True)
    save_file(flux_ip_adapter(pipeline.transformer, xlabs=xlabs), folder / "adapter.safetensors")
    image_encoder().save_pretrained(folder / "image_encoder")
    before = painted(zoo, runtime, task, asked())
    looks = ("a", "b") if task == T2I else ("a",)  # the other stock pipelines fail with two
    found = painted(zoo, runtime, task, asked(*looks, weight=0.8))
    after = painted(zoo, runtime, task, asked())
    assert (found != before).any() and (before == after).all()
    made = getattr(diffusers, FAMILIES["flux"].tasks[task].class_name).from_pipe(pipeline)
    made.load_ip_adapter(
        str(folder), weight_name=["adapter.safetensors"] * len(looks), subfolder=[""] * len(looks),
        image_encoder_pretrained_model_name_or_path=str(folder / "image_encoder"),
        image_encoder_dtype=torch.float32,
    )  # fmt: skip
    made.set_ip_adapter_scale(0.8)
    try:
        expected = stock(
            type(made).__name__, made, image=FIRST, ip_adapter_image=BOTH[: len(looks)]
        )
    finally:
        made.unload_ip_adapter()
    assert np.allclose(found, expected, atol=1e-5), (
        "the adapter is read twice: last bits may differ"
    )


def test_stable_diffusion_3_has_its_ip_adapter_in_every_task(tmp_path: Path) -> None:
    zoo = Zoo(tmp_path)
    runtime, pipeline = zoo("stable_diffusion_3")
    folder = tmp_path / "references" / "look"
    folder.mkdir(parents=True)
    tensors = sd3_ip_adapter(pipeline.transformer)
    save_file(tensors, folder / "ip-adapter.safetensors")
    siglip_encoder().save_pretrained(folder / "image_encoder")
    for task in (T2I, I2I, PAINT):
        before = painted(zoo, runtime, task, asked())
        found = painted(zoo, runtime, task, asked("a", weight=0.8))
        assert (found != before).any()
        assert (painted(zoo, runtime, task, asked()) == before).all()
        if task != T2I:
            continue
        parts: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
        for key, tensor in tensors.items():
            part, _, name = key.partition(".")
            parts[part][name] = tensor
        eyes = transformers.SiglipImageProcessorPil(size={"height": 32, "width": 32})
        made = type(pipeline)(
            **pipeline.components | {"image_encoder": siglip_encoder(), "feature_extractor": eyes}
        )
        made.load_ip_adapter(parts)
        made.set_ip_adapter_scale(0.8)
        try:
            expected = stock(type(made).__name__, made, ip_adapter_image=PIL["a"])
        finally:
            made.unload_ip_adapter()
        assert np.allclose(found, expected, atol=1e-5), (
            "the adapter is read twice: last bits may differ"
        )
    with pytest.raises(InvalidRequest, match="reads one picture at once"):
        painted(zoo, runtime, T2I, asked("a", "b"))
