"""The same seed, model and settings give the bit-identical picture that the stock diffusers pipeline gives."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from core_server.canvas.fill import fill
from core_server.canvas.geometry import Bounds, Extent
from core_server.canvas.masks import make_masks
from core_server.canvas.pixels import Pixels
from core_server.canvas.plan import CanvasOptions, FillMode, ModelSizing, SeamlessAxes
from core_server.canvas.planner import plan_canvas
from core_server.pipelines.masked_denoising import inpaint_at_model_size
from core_server.pipelines.progress import StepReporter
from core_server.pipelines.request import ImageToImage, Inpaint, Parameters, TextToImage
from core_server.pipelines.settings import settle
from tests.core_server.pipelines.conftest import picture, quiet

SCHEDULERS = ["euler", "euler_a", "dpmpp_2m_karras", "dpmpp_sde", "heun", "ddim", "lcm", "pndm"]


def parameters(**changes):
    return Parameters(
        **{
            "prompt": "red bricks",
            "negative_prompt": "blue",
            "num_inference_steps": 4,
            "guidance_scale": 4.5,
            "scheduler": "euler",
            "seed": 2**63 + 11,
            **changes,
        }
    )


def common(request):
    asked = request.parameters
    return {
        "prompt": asked.prompt,
        "negative_prompt": asked.negative_prompt or None,
        "num_inference_steps": asked.num_inference_steps,
        "guidance_scale": asked.guidance_scale,
        "generator": torch.Generator("cpu").manual_seed(asked.seed),
        "output_type": "np",
    }


def as_uint8(result):
    return (result.images[0] * 255).round().astype("uint8")


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_text_to_image(runtime, stock, scheduler):
    request = TextToImage(parameters=parameters(scheduler=scheduler), extent=Extent(96, 64))
    expected = stock("StableDiffusionPipeline", scheduler)(**common(request), width=96, height=64)
    (output,) = runtime.run(request, {}, quiet)
    assert (output.pixels.array == as_uint8(expected)).all()


def test_text_to_image_without_guidance(runtime, stock):
    request = TextToImage(
        parameters=parameters(guidance_scale=1.0, negative_prompt=""), extent=Extent(64, 64)
    )
    expected = stock("StableDiffusionPipeline", "euler")(**common(request), width=64, height=64)
    (output,) = runtime.run(request, {}, quiet)
    assert (output.pixels.array == as_uint8(expected)).all()


@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_image_to_image(runtime, stock, scheduler, strength):
    image = picture(96, 64)
    request = ImageToImage(parameters=parameters(scheduler=scheduler), image="a", strength=strength)
    expected = stock("StableDiffusionImg2ImgPipeline", scheduler)(
        **common(request), image=Image.fromarray(image.array), strength=strength
    )
    (output,) = runtime.run(request, {"a": image}, quiet)
    assert (output.pixels.array == as_uint8(expected)).all()


@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_inpaint(runtime, stock, scheduler, strength):
    """A hard mask: the model's raw picture equals the stock pipeline's for the same filled picture and mask, and
    without colour match the patch is that picture."""
    image, selection = picture(64, 64), np.zeros((64, 64), np.uint8)
    selection[20:40, 10:30] = 255
    model = runtime._model("tiny")
    options = CanvasOptions(feather=0, color_match=0.0)
    plan = plan_canvas(image.extent, Bounds(10, 20, 20, 20), options, strength, model.profile)
    request = Inpaint(
        parameters=parameters(scheduler=scheduler),
        image="a",
        selection="m",
        strength=strength,
        plan=msgspec.structs.replace(plan, model=image.extent, sizing=ModelSizing.AS_IS),
    )
    (output,) = runtime.run(request, {"a": image, "m": Pixels.mask(selection)}, quiet)
    assert output.plan is not None
    assert output.plan.model == output.plan.context.extent == output.bounds.extent == (64, 64)

    denoise = make_masks(selection.astype(np.float32) / 255, output.plan).denoise
    mode = FillMode.BLUR if strength == 1 else FillMode.NONE
    filled = fill(image.array.astype(np.float32) / 255, denoise, mode)
    expected = stock("StableDiffusionInpaintPipeline", scheduler)(
        **common(request),
        image=filled[None],
        mask_image=torch.from_numpy(denoise)[None, None],
        width=64,
        height=64,
        strength=strength,
    )
    raw = inpaint_at_model_size(
        model,
        settle(request, model.profile),
        request.parameters.seed,
        image=filled,
        mask=denoise,
        strength=strength,
        axes=SeamlessAxes.NONE,
        reporter=StepReporter(model, quiet, 4, 1),
    )
    assert (raw == expected.images[0]).all()
    pasted = output.composite_mask.array[..., 0] > 0
    assert (output.pixels.array[pasted] == as_uint8(expected)[pasted]).all()
    assert (output.pixels.array[~pasted] == image.array[~pasted]).all()
    assert 0 < pasted.mean() < 1


def test_picture_k_of_a_batch_is_the_picture_of_seed_plus_k(runtime):
    def run(**changes):
        request = TextToImage(parameters=parameters(**changes), extent=Extent(64, 64))
        return runtime.run(request, {}, quiet)

    last = 2**64 - 1
    batch = run(seed=last, count=3, scheduler="euler_a")
    assert [output.seed for output in batch] == [last, 0, 1]
    for output in batch:
        (alone,) = run(seed=output.seed, scheduler="euler_a")
        assert (alone.pixels.array == output.pixels.array).all()
        assert alone.recipe == output.recipe


def test_seamless_leaves_nothing_behind(runtime):
    def run(axes):
        request = TextToImage(parameters=parameters(seamless=axes), extent=Extent(64, 64))
        return runtime.run(request, {}, quiet)[0].pixels.array

    before, tiled, after = (
        run(SeamlessAxes.NONE),
        run(SeamlessAxes.XY),
        run(SeamlessAxes.NONE),
    )
    assert (before == after).all()
    assert (before != tiled).any()
