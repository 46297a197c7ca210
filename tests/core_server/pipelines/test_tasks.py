"""What the tasks promise beyond bit identity: sizes, sample types, progress, cancelling, seams, recipes."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny

from core_server.canvas.geometry import Bounds, Extent
from core_server.canvas.masks import read_wrapped
from core_server.canvas.pixels import ColorSpace, Pixels
from core_server.canvas.plan import CanvasOptions, FillMode, SeamlessAxes
from core_server.canvas.planner import plan_canvas
from core_server.canvas.seams import seams
from core_server.errors import (
    ImageNotFound,
    InvalidRequest,
    ModelNotFound,
    OutOfMemory,
    TaskCancelled,
    TaskFailed,
)
from core_server.pipelines.denoise import as_tensor, denoise
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.masked_denoising import MaskedDenoising, inpaint_at_model_size
from core_server.pipelines.progress import StepReporter
from core_server.pipelines.request import (
    Adapter,
    AdapterKind,
    ImageToImage,
    Inpaint,
    Parameters,
    TextToImage,
    Texture,
)
from core_server.pipelines.runtime import create_runtime
from core_server.pipelines.seamless import seamless
from core_server.pipelines.settings import settle
from core_server.pipelines.tiny import make_tiny_pipeline
from tests.core_server.pipelines.conftest import picture, quiet


def parameters(**changes):
    return Parameters(**{"prompt": "moss", "num_inference_steps": 2, "seed": 3, **changes})


@pytest.mark.parametrize(
    ("extent", "painted"),
    [
        (Extent(70, 61), [80, 64]),
        (Extent(1, 1), [16, 16]),
        (Extent(5, 90), [16, 288]),
        (Extent(64, 2048), [32, 1024]),
    ],
    ids=["padded", "single pixel", "too thin", "too long"],
)
def test_any_size_is_met_exactly(runtime, extent, painted):
    (output,) = runtime.run(TextToImage(parameters=parameters(), extent=extent), {}, quiet)
    assert output.pixels.extent == extent
    assert output.pixels.array.dtype == np.uint8
    assert output.recipe["model_extent"] == painted


def test_rounding_up_is_cropped_without_a_shift(runtime):
    whole, part = (
        runtime.run(TextToImage(parameters=parameters(), extent=extent), {}, quiet)[0].pixels
        for extent in (Extent(80, 64), Extent(70, 61))
    )
    assert (whole.array[:61, :70] == part.array).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
@pytest.mark.parametrize("space", [ColorSpace.SRGB, ColorSpace.LINEAR_REC709], ids=str)
def test_pictures_come_back_as_they_were_sent(runtime, dtype, space):
    document = picture(75, 50, 4, dtype, space)
    request = ImageToImage(parameters=parameters(), image="a", strength=0.5)
    (output,) = runtime.run(request, {"a": document}, quiet)
    assert output.pixels.extent == document.extent
    assert output.pixels.array.dtype == document.array.dtype
    assert output.pixels.color_space is space
    assert (output.pixels.array[..., 3] == document.array[..., 3]).all()
    assert (output.pixels.array[..., :3] != document.array[..., :3]).any()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
@pytest.mark.parametrize("exact", [False, True], ids=["planned", "exact"])
def test_a_patch_touches_only_what_its_mask_says(runtime, dtype, exact):
    document = picture(700, 600, 4, dtype)
    soft = np.zeros((600, 700), np.uint16)
    soft[300:330, 400:441], soft[300:330, 441] = 65535, 9000
    request = Inpaint(
        parameters=parameters(),
        image="a",
        selection="m",
        options=CanvasOptions(exact_selection=exact),
    )
    images = {"a": document, "m": Pixels.mask(soft)}
    (output,) = runtime.run(request, images, quiet)
    bounds, mask = output.bounds, output.composite_mask.array[..., 0]
    assert bounds == output.plan.mask
    assert output.pixels.extent == output.composite_mask.extent == bounds.extent
    assert output.pixels.array.dtype == document.array.dtype
    old = document.array[bounds.slices]
    assert (output.pixels.array[mask == 0] == old[mask == 0]).all()
    assert (output.pixels.array[..., 3] == old[..., 3]).all()
    assert mask.dtype == np.uint16
    inside = soft[bounds.slices]
    assert (mask[inside == 65535] == 65535).all()
    if exact:
        assert (mask == inside).all()
    else:
        assert (mask[inside > 0] >= inside[inside > 0]).all()
        assert (mask > 0).sum() > (inside > 0).sum()


def test_a_plan_from_before_gives_the_same_patch(runtime):
    """PlanCanvas, then only the context: what a thin client does."""
    document = picture(700, 600)
    soft = np.zeros((600, 700), np.uint8)
    soft[20:60, 30:90] = 255
    profile = runtime.load("")
    plan = plan_canvas(document.extent, Bounds(30, 20, 60, 40), CanvasOptions(), 0.75, profile)
    assert plan.context != Bounds(0, 0, 700, 600)
    request = Inpaint(parameters=parameters(), image="a", selection="m", strength=0.75)
    (whole,) = runtime.run(request, {"a": document, "m": Pixels.mask(soft)}, quiet)
    cut = {
        "a": Pixels(read_wrapped(document.array, plan.context)),
        "m": Pixels.mask(read_wrapped(soft, plan.context)),
    }
    (planned,) = runtime.run(msgspec.structs.replace(request, plan=plan), cut, quiet)
    assert planned.bounds == whole.bounds
    assert (planned.pixels.array == whole.pixels.array).all()
    assert (planned.composite_mask.array == whole.composite_mask.array).all()


def test_a_selection_across_the_border_of_a_tile(runtime):
    """Rolling the tile rolls the plan; the patch is the same."""
    tile, soft = picture(640, 600).array, np.zeros((600, 640), np.uint8)
    soft[200:260, 300:340] = 255
    options = CanvasOptions(seamless=SeamlessAxes.X, padding=0)
    request = Inpaint(parameters=parameters(), image="a", selection="m", options=options)
    results = []
    for shift in (0, 320):
        images = {
            "a": Pixels(np.roll(tile, shift, 1)),
            "m": Pixels.mask(np.roll(soft, shift, 1)),
        }
        results.append(runtime.run(request, images, quiet)[0])
    inner, across = results
    assert across.bounds == inner.bounds.moved(320, 0)
    assert across.bounds.right > 640
    assert (inner.pixels.array == across.pixels.array).all()


@pytest.mark.parametrize("scheduler", ["euler", "dpmpp_2m_karras", "ddim", "pndm"])
def test_masked_denoising_equals_the_stock_inpainting_blend(runtime, scheduler):
    """For a denoiser that stock inpainting knows, our way for the others gives the same picture.

    But for the last bits: the stock pipelines keep their latents in different memory layouts.
    """
    model = runtime._model("tiny")
    request = ImageToImage(
        parameters=parameters(num_inference_steps=6, scheduler=scheduler), image="a"
    )
    settings = settle(request, model.profile)
    image = picture(64, 64).array.astype(np.float32) / 255
    mask = np.zeros((64, 64), np.float32)
    mask[16:40, 8:48] = 1
    reporter = StepReporter(model, quiet, 3, 2)
    keep = MaskedDenoising(model, settings, 3, image=image, mask=mask, axes=SeamlessAxes.NONE)
    ours = denoise(
        "image_to_image", model, settings, 3, axes=SeamlessAxes.NONE, reporter=reporter,
        change=keep, image=as_tensor(image), strength=0.5,
    )  # fmt: skip
    theirs = inpaint_at_model_size(
        model, settings, 3, image=image, mask=mask, strength=0.5, axes=SeamlessAxes.NONE,
        reporter=reporter,
    )  # fmt: skip
    assert ours == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize("autoencoder", ["kl", "tiny"])
def test_inpainting_with_eight_latent_channels(tmp_path, strength, autoencoder):
    pipeline = make_tiny_pipeline(seed=5, latent_channels=8)
    if autoencoder == "tiny":  # what the default model has: latents without a distribution
        widths = (8, 8, 8, 8)
        pipeline.vae = AutoencoderTiny(
            latent_channels=8, encoder_block_out_channels=widths, decoder_block_out_channels=widths
        )
    pipeline.save_pretrained(tmp_path / "models" / "eight")
    wide = LocalRuntime("eight", "cpu", tmp_path)
    document, soft = picture(96, 80), np.zeros((80, 96), np.uint8)
    soft[30:40, 40:60] = 255
    request = Inpaint(
        parameters=parameters(num_inference_steps=4),
        image="a",
        selection="m",
        strength=strength,
        options=CanvasOptions(grow=0, feather=0, fill=FillMode.NEUTRAL),
    )
    images = {"a": document, "m": Pixels.mask(soft)}
    (output,) = wide.run(request, images, quiet)
    inside = output.composite_mask.array[..., 0] > 0
    assert (inside == (soft > 0)).all()
    assert (output.pixels.array[~inside] == document.array[~inside]).all()
    assert (output.pixels.array[inside] != document.array[inside]).any()
    (again,) = wide.run(request, images, quiet)
    assert (again.pixels.array == output.pixels.array).all()


@pytest.mark.parametrize("axes", list(SeamlessAxes), ids=str)
@pytest.mark.parametrize("extent", [Extent(128, 96), Extent(100, 70)], ids=str)
def test_the_seam_is_no_worse_than_the_picture_inside(runtime, axes, extent):
    request = Texture(
        parameters=parameters(seamless=axes, num_inference_steps=4, seed=1), extent=extent
    )
    (output,) = runtime.run(request, {}, quiet)
    assert output.pixels.extent == extent
    if axes is SeamlessAxes.NONE:
        assert "seam_ratio" not in output.recipe
        return
    for name, axis in (("x", 1), ("y", 0)):
        if axes in (SeamlessAxes.XY, SeamlessAxes(name)):
            inside = np.abs(np.diff(output.pixels.array.astype(float), axis=axis))
            inside = inside.mean(axis=(1 - axis, 2))
            seam = seams(output.pixels.array)[name]
            assert output.recipe["seam_ratio"][name] == round(seam.ratio, 4)
            # Random weights decode into blocks, so neighbours inside a block are closer than those across.
            assert seam.plain <= inside.max() / inside.mean() + 0.01


@pytest.mark.parametrize("part", ["encoder", "decoder", "denoiser"])
def test_no_part_of_a_model_knows_where_a_tile_ends(runtime, part):
    """Rolling the input by whole cells of the coarsest level rolls the output, and nothing else."""
    model = runtime._model("tiny")
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(1, 3, 64, 96, generator=generator)
    latents = torch.randn(1, 4, 8, 12, generator=generator)
    words = torch.randn(1, 77, 32, generator=generator)
    call, x, in_cell, out_cell = {
        "encoder": (lambda x: model.vae.encode(x).latent_dist.mode(), image, 8, 1),
        "decoder": (lambda x: model.vae.decode(x).sample, latents, 1, 8),
        "denoiser": (lambda x: model.denoiser(x, 500, words).sample, latents, 2, 2),
    }[part]

    def rolled_both_ways():
        before = call(torch.roll(x, (in_cell * 2, in_cell * 3), (2, 3)))
        return before, torch.roll(call(x), (out_cell * 2, out_cell * 3), (2, 3))

    with torch.no_grad():
        with seamless(SeamlessAxes.XY, model.denoiser, model.vae):
            assert torch.allclose(*rolled_both_ways(), atol=1e-4)
        assert not torch.allclose(*rolled_both_ways(), atol=1e-3), "without it they do know"


@pytest.mark.parametrize("scheduler", ["euler", "heun", "pndm"])
def test_progress_counts_every_step_once(runtime, scheduler):
    runtime.load("")
    seen = []
    request = ImageToImage(
        parameters=parameters(scheduler=scheduler, num_inference_steps=6, count=2),
        image="a",
        strength=0.5,
    )
    outputs = runtime.run(request, {"a": picture(64, 64)}, seen.append)
    steps = [progress.step for progress in seen]
    assert steps == sorted(steps)
    assert set(steps) == set(range(7))
    assert {progress.steps for progress in seen} == {6}
    assert [p.stage for p in seen].count("Decoding") == 2
    assert [output.recipe["steps_run"] for output in outputs] == [3, 3]
    preview = next(p.preview for p in seen if p.preview is not None)
    assert (preview.dtype, preview.shape) == (np.uint8, (256, 256, 3))


@pytest.mark.parametrize("at", [0, 2, 3], ids=["before", "between steps", "before decoding"])
def test_cancelling(runtime, at):
    seen = []

    def cancel(progress):
        seen.append(progress)
        if len(seen) == at + 1:
            raise TaskCancelled

    request = TextToImage(parameters=parameters(), extent=Extent(64, 64))
    with pytest.raises(TaskCancelled):
        runtime.run(request, {}, cancel)
    assert len(seen) == at + 1
    assert runtime.run(request, {}, quiet)[0].pixels.extent == (64, 64)


def test_the_recipe_says_what_was_done(runtime):
    request = TextToImage(
        parameters=parameters(prompt="w" * 100, num_inference_steps=None), extent=Extent(64, 64)
    )
    (output,) = runtime.run(request, {}, quiet)
    recipe = json.loads(json.dumps(output.recipe))
    profile = runtime.load("")
    assert recipe["num_inference_steps"] == recipe["steps_run"] == profile.num_inference_steps
    assert recipe["guidance_scale"] == profile.guidance_scale
    assert recipe["scheduler"] == profile.scheduler
    assert (recipe["seed"], recipe["model"], recipe["device"]) == (3, "tiny", "cpu")
    assert len(recipe["model_sha256"]) == 64
    assert recipe["versions"]["torch"] == torch.__version__
    assert any("100 tokens; this model read in 2 windows of 75" in note for note in recipe["notes"])


BAD = [
    ({"parameters": parameters(prompt=" ")}, InvalidRequest, "prompt is empty"),
    ({"parameters": parameters(scheduler="best")}, InvalidRequest, "no scheduler 'best'.*euler_a"),
    ({"parameters": parameters(model="gone")}, ModelNotFound, "no model 'gone'.*tiny"),
    ({"parameters": parameters(model="/etc")}, ModelNotFound, "no model '/etc'"),
    ({"parameters": parameters(num_inference_steps=0)}, InvalidRequest, "must be from 1 to 1000"),
    (
        {"parameters": parameters(guidance_scale=float("nan"))},
        InvalidRequest,
        "must be from 0 to 50",
    ),
    ({"parameters": parameters(count=0)}, InvalidRequest, "must be from 1 to 64"),
    ({"parameters": parameters(seed=-1)}, InvalidRequest, r"must be from 0 to 2\*\*64 - 1"),
    ({"parameters": parameters(style="noir")}, InvalidRequest, "no style 'noir'"),
    ({"extent": Extent(0, 64)}, InvalidRequest, "at least 1 px"),
    (
        {"parameters": parameters(adapters=(Adapter(kind=AdapterKind.LORA, name="x"),))},
        InvalidRequest,
        "no LoRA 'x'",
    ),
]


@pytest.mark.parametrize(("changes", "error", "words"), BAD, ids=[words for *_, words in BAD])
def test_bad_requests_get_one_sentence(runtime, changes, error, words):
    request = TextToImage(**{"parameters": parameters(), "extent": Extent(64, 64), **changes})
    with pytest.raises(error, match=words):
        runtime.run(request, {}, quiet)


@pytest.mark.parametrize(
    ("changes", "selection", "words"),
    [
        ({"strength": 0.1}, np.ones((64, 64)), "less than one step; raise strength to 0.5 or"),
        ({"strength": 1.5}, np.ones((64, 64)), "above 0 and at most 1"),
        ({}, np.zeros((64, 64)), "selection is empty"),
        ({}, np.ones((64, 65)), "65 x 64 px and the image 64 x 64 px; they must be equally large"),
        ({}, np.ones((64, 64, 3)), "has 3 channels"),
    ],
)
def test_bad_inpaints_get_one_sentence(runtime, changes, selection, words):
    array = selection.astype(np.uint8).reshape(*selection.shape[:2], -1)
    images = {"a": picture(64, 64), "m": Pixels(array, ColorSpace.NON_COLOR)}
    request = Inpaint(parameters=parameters(), image="a", selection="m", **changes)
    with pytest.raises(InvalidRequest, match=words):
        runtime.run(request, images, quiet)


def test_missing_images_and_foreign_plans(runtime):
    request = ImageToImage(parameters=parameters(), image="gone", strength=1.0)
    with pytest.raises(ImageNotFound):
        runtime.run(request, {}, quiet)
    profile = runtime.load("")
    plan = plan_canvas(Extent(64, 64), Bounds(1, 1, 9, 9), CanvasOptions(), 1.0, profile)
    images = {"a": picture(64, 64), "m": Pixels.mask(np.ones((64, 64), np.uint8))}
    ask = Inpaint(parameters=parameters(), image="a", selection="m", plan=plan)
    for changes, words in (
        ({"context": Bounds(0, 0, 32, 32)}, "the plan's context 32 x 32 px; send exactly"),
        ({"model": Extent(63, 64)}, "ask PlanCanvas"),
        ({"mask": Bounds(-1, 0, 64, 64)}, "ask PlanCanvas"),
    ):
        broken = msgspec.structs.replace(plan, **changes)
        with pytest.raises(InvalidRequest, match=words):
            runtime.run(msgspec.structs.replace(ask, plan=broken), images, quiet)


def test_trouble_on_the_device_is_told_apart(tmp_path, monkeypatch):
    runtime = create_runtime("tiny", "cpu", tmp_path)  # one that ran out of memory keeps less there
    request = TextToImage(parameters=parameters(), extent=Extent(64, 64))
    model = runtime._model("tiny")

    def no_memory(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(model.denoiser, "forward", no_memory)
    with pytest.raises(OutOfMemory, match="make the picture or the selection smaller"):
        runtime.run(request, {}, quiet)
    monkeypatch.setattr(model.denoiser, "forward", lambda x, *_, **__: (x * float("nan"),))
    with pytest.raises(TaskFailed, match="not finite"):
        runtime.run(request, {}, quiet)
