"""What tests of transformers' ControlNets share: networks on a shelf, our pictures, stock pipelines' pictures."""

from __future__ import annotations

import inspect
import shutil
from typing import Any

import diffusers
import numpy as np
import torch

from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import Pixels
from core_server.canvas.plan import SeamlessAxes
from core_server.pipelines import control_networks
from core_server.pipelines.denoise import as_tensor, denoise
from core_server.pipelines.families.registry import FAMILIES
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.masked_denoising import inpaint_at_model_size
from core_server.pipelines.outfit import dressed
from core_server.pipelines.progress import StepReporter
from core_server.pipelines.request import (
    ControlImage,
    ControlKind,
    ImageToImage,
    Inpaint,
    Parameters,
    TextToImage,
)
from core_server.pipelines.schedulers import make_scheduler
from core_server.pipelines.settings import settle
from tests.core_server.pipelines.conftest import picture, quiet
from tests.core_server.pipelines.tiny_controls import control_network

SIDE, STEPS, SEED = 64, 2, 7
DEPTH, LINE, POSE = ControlKind.DEPTH, ControlKind.LINE, ControlKind.POSE
INPAINT = ControlKind.INPAINT
CONTROLLED = [name for name, it in FAMILIES.items() if it.control and it.denoiser != "unet"]
START = {"i": picture(SIDE, SIDE)}
MASK = np.zeros((SIDE, SIDE), np.float32)
MASK[16:48, 16:64] = 1


def shelve(zoo: Any, family: str, networks: dict[str, dict[str, Any]]) -> tuple[LocalRuntime, Any]:
    """Runtime and stock pipeline of a family for which these networks alone are installed, by name."""
    runtime, pipeline = zoo(family)
    shutil.rmtree(zoo.root / "controls", ignore_errors=True)
    control_networks.give_up_networks(needed_too=True)
    for seed, (name, changes) in enumerate(networks.items()):
        made = control_network(family, pipeline.transformer, seed, **changes)
        made.save_pretrained(zoo.root / "controls" / name)
    return runtime, pipeline


def loaded() -> list[Any]:
    """The networks that the runtime read: where numbers lie in memory decides last bits."""
    return [it.module for it in control_networks._loaded.values()]


def looks(k: int) -> Pixels:
    return Pixels(np.ascontiguousarray(np.rot90(picture(SIDE, SIDE).array, k)))


def asked(*controls: tuple[ControlKind, float], **more: Any) -> Parameters:
    images = tuple(
        ControlImage(kind=kind, image=f"c{k}", weight=weight)
        for k, (kind, weight) in enumerate(controls)
    )
    return Parameters(
        prompt="red bricks", num_inference_steps=STEPS, guidance_scale=3.0, seed=SEED,
        control_images=images, **more,
    )  # fmt: skip


def images_of(parameters: Parameters) -> dict[str, Pixels]:
    return START | {it.image: looks(k) for k, it in enumerate(parameters.control_images)}


def painted(zoo: Any, runtime: LocalRuntime, task: str, parameters: Parameters) -> np.ndarray:
    """(height, width, 3) floats 0..1 at the model's size."""
    model = runtime._model("")
    request: Any = TextToImage(parameters=parameters, extent=Extent(SIDE, SIDE))
    if task == "image_to_image":
        request = ImageToImage(parameters=parameters, image="i")
    if task == "inpaint":
        request = Inpaint(parameters=parameters, image="i", selection="i")
    settings = settle(request, model.profile)
    common = {"axes": SeamlessAxes.NONE, "reporter": StepReporter(model, quiet, STEPS, 1)}
    start = START["i"].array.astype(np.float32) / 255
    with dressed(model, request, settings, images_of(parameters), zoo.root) as settings:
        if task == "inpaint":
            return inpaint_at_model_size(
                model, settings, SEED, image=start, mask=MASK, strength=0.6, **common
            )
        inputs: dict[str, Any] = {"width": SIDE, "height": SIDE}
        if task == "image_to_image":
            inputs = {"image": as_tensor(start), "strength": 0.6}
        return denoise(task, model, settings, SEED, **common, **inputs)


def stock(class_name: str, pipeline: Any, networks: Any, **arguments: Any) -> np.ndarray:
    kind = getattr(diffusers, class_name)
    known = inspect.signature(kind.__init__).parameters
    parts = {name: part for name, part in pipeline.components.items() if name in known}
    made = kind(**parts, **({} if networks is None else {"controlnet": networks}))
    made.set_progress_bar_config(disable=True)
    made.scheduler = make_scheduler("flow_euler", pipeline.scheduler.config)
    takes = inspect.signature(made.__call__).parameters
    words = {
        "negative_prompt": " ", "guidance_scale": 3.0, "strength": 0.6,
        "true_cfg_scale": 3.0 if "Qwen" in class_name else 1.0,
        "use_resolution_binning": False, "clean_caption": False,
        "image": START["i"].array[None].astype(np.float32) / 255,
        "mask_image": torch.from_numpy(MASK)[None, None],
    }  # fmt: skip
    torch.manual_seed(SEED)  # some draw from the process's random numbers
    [image] = made(
        prompt="red bricks", width=SIDE, height=SIDE, num_inference_steps=STEPS, output_type="np",
        generator=torch.Generator("cpu").manual_seed(SEED),
        **{key: value for key, value in words.items() if key in takes}, **arguments,
    ).images  # fmt: skip
    return np.asarray(image)


def unit(k: int) -> np.ndarray:
    return looks(k).array[None].astype(np.float32) / 255
