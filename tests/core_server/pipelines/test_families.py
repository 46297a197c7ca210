"""Every family and task: the runtime's picture is, bit for bit, what the stock diffusers pipeline paints."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import Pixels
from core_server.canvas.plan import CanvasOptions, SeamlessAxes
from core_server.canvas.seams import seams
from core_server.errors import InvalidRequest
from core_server.pipelines.denoise import as_tensor, denoise, resized, tiling
from core_server.pipelines.families.family import LatentSpace, Route
from core_server.pipelines.families.registry import FAMILIES, family_of
from core_server.pipelines.families.table import DOCUMENT, rewritten
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.masked_denoising import inpaint_at_model_size
from core_server.pipelines.progress import StepReporter
from core_server.pipelines.request import ImageToImage, Inpaint, Parameters, TextToImage
from core_server.pipelines.schedulers import SCHEDULERS, make_scheduler
from core_server.pipelines.settings import settle
from tests.core_server.pipelines.conftest import picture, quiet
from tests.core_server.pipelines.tiny_families import BUILDERS, save_tiny_family

WIDTH, HEIGHT, STEPS, SEED = 64, 96, 2, 7
TASKS = [
    (name, task)
    for name, family in FAMILIES.items()
    for task in family.tasks
    if not family.controls_itself  # those always want a control image: test_control_transformers
]
OPTIONS = ("is_distilled", "force_zeros_for_empty_prompt")
SLOW = ("qwen_image_edit",)
"""Always paint a megapixel, whatever they are asked for."""
STOCK_TASKS = [
    (name, task)
    for name, task in TASKS
    if FAMILIES[name].tasks[task].route in (Route.STOCK, Route.WHOLE_MASK)
    # Those that paint from reference images alone: test_reference_seen.
    and not (FAMILIES[name].paints_from_looks and task == "text_to_image")
]


class Zoo:
    """Runtimes of the tiny families, made when first asked for; the pipelines they were made from."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self._made: dict[str, tuple[LocalRuntime, Any]] = {}

    def __call__(self, name: str) -> tuple[LocalRuntime, Any]:
        if name not in self._made:
            folder = self.root / "models" / name
            made = save_tiny_family(name, folder)
            runtime = LocalRuntime(name, "cpu", self.root)
            runtime.load("")
            components = runtime._model("").components
            for part, module in made.components.items():
                if isinstance(module, torch.nn.Module):
                    assert_same_weights(module, components[part])
            # The loaded objects themselves: where numbers lie in memory decides last bits.
            options = {k: v for k, v in made.config.items() if k in FAMILIES[name].pipeline_options}
            options |= {k: made.config[k] for k in OPTIONS if k in made.config}
            loaded = {part: components[part] for part in made.components}
            pipeline = type(made)(**loaded, **options)
            self._made[name] = runtime, pipeline
        return self._made[name]


def assert_same_weights(saved: torch.nn.Module, loaded: torch.nn.Module) -> None:
    before, after = saved.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.set_num_threads(1)
    return Zoo(tmp_path_factory.mktemp("zoo"))


def parameters(**changes: Any) -> Parameters:
    return Parameters(
        **{
            "prompt": "red bricks",
            "negative_prompt": "blue",
            "num_inference_steps": STEPS,
            "guidance_scale": 3.0,
            "seed": SEED,
            **changes,
        }
    )


def ask(task: str, strength: float = 0.6, **changes: Any) -> tuple[Any, dict[str, Pixels]]:
    images = {"a": picture(WIDTH, HEIGHT), "m": Pixels.mask(selection())}
    asked = parameters(**changes)
    if task == "text_to_image":
        return TextToImage(parameters=asked, extent=Extent(WIDTH, HEIGHT)), {}
    if task == "image_to_image":
        return ImageToImage(parameters=asked, image="a", strength=strength), images
    options = CanvasOptions(exact_selection=True, color_match=0.0)
    inpaint = Inpaint(
        parameters=asked, image="a", selection="m", strength=strength, options=options
    )
    return inpaint, images


def selection() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[16:80, 16:48] = 255
    return mask


def at_model_size(runtime: LocalRuntime, task: str, scheduler: str = "", **more: Any) -> Any:
    """(height, width, 3) floats 0..1 as the model painted them, before canvas work and rounding."""
    model = runtime._model("")
    request, _ = ask(task, scheduler=scheduler, **more)
    settings = settle(request, model.profile)
    common = {"axes": SeamlessAxes.NONE, "reporter": StepReporter(model, quiet, STEPS, 1)}
    image = picture(WIDTH, HEIGHT).array.astype(np.float32) / 255
    if task == "text_to_image":
        extent = {"width": WIDTH, "height": HEIGHT}
        return denoise(task, model, settings, SEED, **common, **extent)
    if task == "image_to_image":
        inputs = {"image": as_tensor(image), "strength": 0.6}
        return denoise(task, model, settings, SEED, **common, **inputs)
    mask = selection().astype(np.float32) / 255
    return inpaint_at_model_size(
        model, settings, SEED, image=image, mask=mask, strength=0.6, **common
    )


def stock(
    name: str,
    task: str,
    pipeline: Any,
    scheduler: str,
    strength: float = 0.6,
    *,
    whole: bool = False,
) -> Any:
    """(height, width, 3) floats 0..1 of the stock pipeline, called as its documentation says. whole: all selected."""
    family = FAMILIES[name]
    kind = getattr(diffusers, family.tasks[task].class_name)
    made = kind.from_pipe(pipeline)
    made.set_progress_bar_config(disable=True)
    made.scheduler = make_scheduler(scheduler, pipeline.scheduler.config)
    image: Any = picture(WIDTH, HEIGHT).array[None].astype(np.float32) / 255
    everything = whole or family.tasks[task].route is Route.WHOLE_MASK
    chosen = np.full((HEIGHT, WIDTH), 255, np.uint8) if everything else selection()
    mask: Any = torch.from_numpy(chosen.astype(np.float32) / 255)[None, None]
    if family.pil_images:
        image = Image.fromarray(picture(WIDTH, HEIGHT).array)
        mask = Image.fromarray(chosen)
    words = {
        "negative_prompt": "blue",
        "guidance_scale": 3.0,
        "true_cfg_scale": 3.0 if name.startswith("qwen") else 1.0,
        "use_resolution_binning": False,
        "clean_caption": False,
        "width": WIDTH,
        "height": HEIGHT,
        "max_area": WIDTH * HEIGHT,
        "_auto_resize": False,
        "strength": strength,
        "image": image,
        "mask_image": mask,
    }
    if task == "text_to_image":
        del words["image"]
    if not family.negative_prompt:
        del words["negative_prompt"]
    known = inspect.signature(made.__call__).parameters
    # The stock pipeline forgets shift_factor when it decodes, which its siblings add: the picture's colours are off.
    shifts = (name, task) == ("stable_diffusion_3", "inpaint")
    result = made(
        prompt="red bricks",
        num_inference_steps=STEPS,
        generator=torch.Generator("cpu").manual_seed(SEED),
        output_type="latent" if shifts else "np",
        **{key: value for key, value in words.items() if key in known},
    ).images
    if shifts:
        with torch.no_grad():
            config = made.vae.config
            latents = result / config.scaling_factor + config.shift_factor
            result = made.image_processor.postprocess(made.vae.decode(latents).sample, "np")
    return result[0]


@pytest.mark.parametrize(("name", "task"), STOCK_TASKS, ids=lambda it: it)
def test_every_family_paints_what_diffusers_paints(zoo: Any, name: str, task: str) -> None:
    runtime, pipeline = zoo(name)
    expected = stock(name, task, pipeline, runtime.load("").scheduler)
    expected = resized(expected, Extent(WIDTH, HEIGHT), SeamlessAxes.NONE)
    assert (at_model_size(runtime, task) == expected).all()
    if task != "inpaint" and name not in SLOW:
        request, images = ask(task)
        (output,) = runtime.run(request, images, quiet)
        assert output.recipe["model_family"] == name
        assert (output.pixels.array == (expected * 255).round().astype(np.uint8)).all()


BUILT = [
    (name, task)
    for name, task in TASKS
    if FAMILIES[name].tasks[task].route in (Route.LATE_START, Route.MASKED_LATENTS)
]


def test_a_single_step_is_a_picture(zoo: Any) -> None:
    """PixArt-alpha's stock pipeline fails with its own scheduler then."""
    runtime, _ = zoo("pixart_alpha")
    for task in ("text_to_image", "image_to_image"):
        request, images = ask(task, strength=1.0, num_inference_steps=1)
        (output,) = runtime.run(request, images, quiet)
        assert output.recipe["steps_run"] == 1
        assert output.pixels.array.std() > 0


@pytest.mark.parametrize(("name", "task"), BUILT, ids=lambda it: it)
def test_tasks_that_diffusers_lacks(zoo: Any, name: str, task: str) -> None:
    """Built from text-to-image: the less strength, the nearer to the picture; outside of the mask nothing changes."""
    runtime, _ = zoo(name)
    image = picture(WIDTH, HEIGHT)
    request, images = ask(task, strength=0.5, num_inference_steps=6)
    (half,) = runtime.run(request, images, quiet)
    request, images = ask(task, strength=1.0, num_inference_steps=6)
    (whole,) = runtime.run(request, images, quiet)
    assert (half.recipe["steps_run"], whole.recipe["steps_run"]) == (3, 6)
    assert (half.pixels.array != whole.pixels.array).any()
    (again,) = runtime.run(request, images, quiet)
    assert (again.pixels.array == whole.pixels.array).all()
    if task == "inpaint":
        kept = half.composite_mask.array[..., 0] == 0
        assert 0 < kept.mean() < 1
        old = image.array[half.bounds.slices]
        assert (half.pixels.array[kept] == old[kept]).all()


def test_flux_2_dev_sees_the_picture_that_it_repaints(zoo: Any) -> None:
    """At full strength it is the stock pipeline's editing, bit for bit: all that is built here is where it starts."""
    runtime, pipeline = zoo("flux_2_dev")
    image = picture(WIDTH, HEIGHT).array
    model = runtime._model("")
    request, _ = ask("image_to_image", strength=1.0)
    painted = denoise(
        "image_to_image", model, settle(request, model.profile), SEED,
        axes=SeamlessAxes.NONE, reporter=StepReporter(model, quiet, STEPS, 1),
        image=as_tensor(image.astype(np.float32) / 255), strength=1.0,
    )  # fmt: skip
    pipeline.scheduler = make_scheduler(model.profile.scheduler, pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    [expected] = pipeline(
        image=Image.fromarray(image), prompt="red bricks", width=WIDTH, height=HEIGHT,
        num_inference_steps=STEPS, guidance_scale=3.0, output_type="np",
        generator=torch.Generator("cpu").manual_seed(SEED),
    ).images  # fmt: skip
    assert (painted == expected).all()


@pytest.mark.parametrize(("name", "family"), FAMILIES.items(), ids=lambda it: str(it)[:30])
def test_the_registry_tells_families_apart(name: str, family: Any) -> None:
    pipeline = BUILDERS[name]()
    denoiser = getattr(pipeline, family.denoiser)
    assert family_of(type(pipeline).__name__, dict(denoiser.config)) is family
    for task in family.tasks.values():
        assert hasattr(diffusers, task.class_name)
    assert {"text_to_image", "image_to_image", "inpaint"} <= {*family.tasks, *family.refused}
    assert not {*family.all_tasks(), *family.tasks} & set(family.refused)
    assert set(family.schedulers) <= set(SCHEDULERS)
    assert family.adapters in FAMILIES


def test_what_a_family_cannot_do_is_refused_with_the_reason(zoo: Any) -> None:
    runtime, _ = zoo("flux_fill")
    request, images = ask("text_to_image")
    with pytest.raises(InvalidRequest, match=r"cannot do text_to_image.*needs a picture"):
        runtime.run(request, images, quiet)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("flux", "text_to_image"),
        ("z_image", "image_to_image"),
        ("stable_diffusion_3", "inpaint"),
        ("sana", "image_to_image"),
    ],
)
def test_every_flow_scheduler_paints_with_every_way_of_asking(
    zoo: Any, name: str, task: str
) -> None:
    runtime, _ = zoo(name)
    pictures = set()
    for scheduler in FAMILIES[name].schedulers:
        painted = at_model_size(runtime, task, scheduler, num_inference_steps=4)
        assert np.isfinite(painted).all()
        pictures.add(painted.tobytes())
    # Over so few steps two of them may agree.
    assert len(pictures) >= len(FAMILIES[name].schedulers) - 1


def test_schedulers_of_another_kind_are_refused(zoo: Any) -> None:
    runtime, _ = zoo("flux")
    request, images = ask("text_to_image", scheduler="euler_a")
    with pytest.raises(InvalidRequest, match=r"cannot use the scheduler 'euler_a'.*flow_euler"):
        runtime.run(request, images, quiet)


SEAMLESS = ["stable_diffusion_xl", "stable_diffusion_3", "flux", "flux_2_klein", "z_image",
            "qwen_image", "pixart_sigma", "sana"]  # fmt: skip


@pytest.mark.parametrize("name", SEAMLESS)
def test_no_decoder_knows_where_a_tile_ends(zoo: Any, name: str) -> None:
    """Rolling the latents rolls the picture, and so it is for the encoder: the seam is a place like any other."""
    runtime, _ = zoo(name)
    model = runtime._model("")
    extent = Extent(128, 64)
    size = model.latents.grid_extent(extent)
    generator = torch.Generator().manual_seed(1)
    grid = torch.randn(1, model.latents.channels, size.height, size.width, generator=generator)
    cell = extent.width // size.width

    def painted(grid: torch.Tensor) -> torch.Tensor:
        return model.latents.decode(model.latents.to_vae(grid))

    with torch.no_grad(), tiling(SeamlessAxes.XY, model, extent):
        rolled = painted(torch.roll(grid, (1, 3), (2, 3)))
        back = torch.roll(rolled, (-cell, -3 * cell), (2, 3))
        assert torch.allclose(back, painted(grid), atol=1e-4)
        image = painted(grid).clamp(-1, 1)
        stride = model.seamless_multiple
        likeliest = dataclasses.replace(model.latents, draws=False)
        codes = likeliest.encode(image, torch.Generator().manual_seed(0))
        moved = torch.roll(image, (stride, stride), (2, 3))
        recoded = likeliest.encode(moved, torch.Generator().manual_seed(0))
        if model.latents.space is LatentSpace.VIDEO or name == "flux_2_klein":
            by = stride // cell  # the others draw their codes from a distribution
            assert torch.allclose(torch.roll(codes, (by, by), (2, 3)), recoded, atol=1e-3)
    with torch.no_grad():
        assert not torch.allclose(torch.roll(painted(grid), 0), image, atol=1e-3)


@pytest.mark.parametrize("name", [n for n in SEAMLESS if n != "stable_diffusion_xl"])
def test_transformers_are_shown_another_border_at_each_step(zoo: Any, name: str) -> None:
    runtime, _ = zoo(name)
    model = runtime._model("")
    before = vars(model.denoiser).get("forward")
    seen: dict[SeamlessAxes, Any] = {}
    for axes in (SeamlessAxes.NONE, SeamlessAxes.X, SeamlessAxes.XY, SeamlessAxes.NONE):
        request, images = ask("text_to_image", seamless=axes)
        (output,) = runtime.run(request, images, quiet)
        if axes in seen:
            assert (output.pixels.array == seen[axes]).all(), "nothing is left of a tile"
        seen[axes] = output.pixels.array
        assert ("seam_ratio" in output.recipe) == (axes is not SeamlessAxes.NONE)
    assert len({array.tobytes() for array in seen.values()}) == 3
    assert vars(model.denoiser).get("forward") is before


@pytest.mark.parametrize("name", ["stable_diffusion_3", "flux_2_klein", "z_image"])
def test_tiles_have_no_seam(zoo: Any, name: str) -> None:
    """Over several pictures of noise the seam is a place like any other; without rolling it can be told.

    Random weights paint no lines for a seam to cut, but the borders of their noise are smoother than its inside.
    """
    runtime, _ = zoo(name)
    ratios = {}
    for axes in (SeamlessAxes.NONE, SeamlessAxes.XY):
        request, _ = ask("text_to_image", seamless=axes, num_inference_steps=6, count=6)
        pictures = [output.pixels.array for output in runtime.run(request, {}, quiet)]
        found = [[it.plain for it in seams(array).values()] for array in pictures]
        ratios[axes] = np.mean(found, axis=0)
    assert (abs(ratios[SeamlessAxes.XY] - 1) < 0.08).all(), ratios
    assert (abs(ratios[SeamlessAxes.NONE] - 1) > 0.2).any(), ratios


def test_the_tables_in_the_documents_are_current() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert rewritten(text) == text, "run python -m core_server.pipelines.families.table"
    for family in FAMILIES.values():
        assert f"| {family.title} |" in text
