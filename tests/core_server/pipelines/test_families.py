"""Every family and task: the runtime's picture is, bit for bit, what the stock diffusers pipeline paints."""

from __future__ import annotations

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
from core_server.errors import InvalidRequest
from core_server.pipelines.denoise import as_tensor, denoise, resized
from core_server.pipelines.families.family import Route
from core_server.pipelines.families.registry import FAMILIES, family_of
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.masked_denoising import inpaint_at_model_size
from core_server.pipelines.progress import StepReporter
from core_server.pipelines.request import ImageToImage, Inpaint, Parameters, TextToImage
from core_server.pipelines.schedulers import SCHEDULERS, make_scheduler
from core_server.pipelines.settings import settle
from tests.core_server.pipelines.conftest import picture, quiet
from tests.core_server.pipelines.tiny_families import BUILDERS, save_tiny_family

WIDTH, HEIGHT, STEPS, SEED = 64, 96, 2, 7
TASKS = [(name, task) for name, family in FAMILIES.items() for task in family.tasks]
OPTIONS = ("is_distilled", "force_zeros_for_empty_prompt")
SLOW = ("qwen_image_edit",)
"""Always paint a megapixel, whatever they are asked for."""
STOCK_TASKS = [
    (name, task)
    for name, task in TASKS
    if FAMILIES[name].tasks[task].route in (Route.STOCK, Route.WHOLE_MASK)
]


class Zoo:
    """Runtimes of the tiny families, made when first asked for; the pipelines they were made from."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._made: dict[str, tuple[LocalRuntime, Any]] = {}

    def __call__(self, name: str) -> tuple[LocalRuntime, Any]:
        if name not in self._made:
            folder = self._root / "models" / name
            made = save_tiny_family(name, folder)
            runtime = LocalRuntime(name, "cpu", self._root)
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


def stock(name: str, task: str, pipeline: Any, scheduler: str, strength: float = 0.6) -> Any:
    """(height, width, 3) floats 0..1 of the stock pipeline, called as its documentation says."""
    family = FAMILIES[name]
    kind = getattr(diffusers, family.tasks[task].class_name)
    made = kind.from_pipe(pipeline)
    made.set_progress_bar_config(disable=True)
    made.scheduler = make_scheduler(scheduler, pipeline.scheduler.config)
    image: Any = picture(WIDTH, HEIGHT).array[None].astype(np.float32) / 255
    everything = family.tasks[task].route is Route.WHOLE_MASK
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
    expected = resized(expected, Extent(WIDTH, HEIGHT))
    assert (at_model_size(runtime, task) == expected).all()
    if task != "inpaint" and name not in SLOW:
        request, images = ask(task)
        (output,) = runtime.run(request, images, quiet)
        assert output.recipe["model_family"] == name
        assert (output.pixels.array == (expected * 255).round().astype(np.uint8)).all()
