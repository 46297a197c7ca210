"""Jobs over a mix of everything that changes a model, and whether any of it stays on the model for the next job."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file

import scumble.client
from scumble.client import (
    Adapter,
    AdapterKind,
    ColorSpace,
    ControlImage,
    ControlKind,
    ImageToImage,
    Inpaint,
    Pixels,
    ReferenceImage,
    Request,
    SampleType,
    ScumbleError,
    SeamlessAxes,
    TextToImage,
)
from tests.core_server.pipelines.test_control import network
from tests.core_server.pipelines.tiny_families import save_tiny_family
from tests.core_server.pipelines.tiny_loras import diffusers_lora, kohya
from tests.core_server.pipelines.tiny_references import save_ip_adapter
from tests.real_server import running_server
from tests.soak.soak import MIB, MOST_GROWTH, noise, usage

MODELS = ("stable_diffusion", "stable_diffusion_xl", "flux", "stable_diffusion_3", "z_image")
"""More than a server keeps loaded at a time."""
_WITH_ADAPTERS = ("stable_diffusion", "stable_diffusion_xl")
_LORAS = ("moss", "rust")
_SIZES = ((64, 64), (96, 64), (48, 80), (70, 50))
_SAMPLES = 20
_PATIENCE = 600.0


@dataclass
class Report:
    """memory: the worker's own, in bytes, sampled at equal distances."""

    jobs: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    repeated: int = 0
    memory: list[int] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """Of the last quarter's median over the second quarter's: by then every model was loaded once."""
        quarter = len(self.memory) // 4
        if not quarter:
            return 0.0
        early, late = self.memory[quarter : 2 * quarter], self.memory[-quarter:]
        return statistics.median(late) / statistics.median(early) - 1

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.kinds.items()))
        memory = ", ".join(f"{it / MIB:.0f}" for it in self.memory)
        return (
            f"{self.jobs} jobs in {self.seconds:.0f} s: {kinds}\n"
            f"the worker's memory on the way, MiB: {memory} ({self.growth:+.1%} after the first half)\n"
            f"{self.repeated} first jobs repeated at the end, bit for bit\nbroken: {self.broken or 'none'}"
        )


def make_data(folder: Path) -> None:
    """A data folder with small models of random weights, LoRAs of both layouts, a ControlNet and IP-Adapters."""
    for model in MODELS:
        pipeline = save_tiny_family(model, folder / "models" / model)
        if model not in _WITH_ADAPTERS:
            continue
        save_ip_adapter(folder / "references" / model, pipeline.unet)
        (folder / "adapters").mkdir(exist_ok=True)
        for k, name in enumerate(_LORAS):
            tensors = diffusers_lora(pipeline, k)
            save_file(
                kohya(tensors) if k else tensors,
                folder / "adapters" / f"{model}-{name}.safetensors",
            )
    network(1).save_pretrained(folder / "controls" / "tiny-depth")


def run_mix(folder: Path, jobs: int, seed: int) -> Report:
    """Runs them one after the other on a real server; then the first job of each model again."""
    report, chance = Report(), random.Random(seed)
    make_data(folder)
    firsts: dict[str, tuple[Request, Pixels]] = {}
    started = time.monotonic()
    with (
        running_server(folder, model=MODELS[0]) as server,
        scumble.client.connect(server.address, token=server.token) as client,
    ):
        try:
            for number in range(jobs):
                model = (
                    MODELS[number % len(MODELS)] if number < len(MODELS) else chance.choice(MODELS)
                )
                request, kinds = _request(model, number, chance)
                [patch] = client.submit(request).result(_PATIENCE)
                firsts.setdefault(model, (request, patch.pixels))
                report.jobs += 1
                for kind in (model, *kinds):
                    report.kinds[kind] = report.kinds.get(kind, 0) + 1
                if number % max(jobs // _SAMPLES, 1) == 0:
                    report.memory.append(usage(server)["worker"].memory)
            for model, (request, before) in firsts.items():
                [patch] = client.submit(request).result(_PATIENCE)
                report.repeated += 1
                if not np.array_equal(patch.pixels.numpy(), before.numpy()):
                    report.broken.append(f"the first job of {model} paints another picture now")
        except ScumbleError as error:
            report.broken.append(f"job {report.jobs}: {error}")
    report.seconds = time.monotonic() - started
    if report.growth > MOST_GROWTH:
        report.broken.append(f"the worker grew by more than {MOST_GROWTH:.0%}")
    return report


def _request(model: str, number: int, chance: random.Random) -> tuple[Request, list[str]]:
    """A job, and what is special about it."""
    width, height = chance.choice(_SIZES)
    seamless = chance.choice(list(SeamlessAxes))
    common: dict[str, Any] = {
        "model": model,
        "seed": number,
        "num_inference_steps": chance.choice((2, 3)),
        "guidance_scale": chance.choice((1.0, 4.0)),
        "seamless": seamless,
        "style": chance.choice(("", "", "watercolour")),
    }
    kinds = [] if seamless is SeamlessAxes.NONE else ["seamless"]
    if model in _WITH_ADAPTERS:
        added = _adapters(model, number, chance)
        common |= added
        kinds += [name for name, value in added.items() if value]
    task = chance.choice(("text", "text", "image", "inpaint"))
    kinds.append(task)
    prompt = chance.choice(("moss", "a (rusty:1.3) {gate|door}", "stone " * 40))
    if task == "text":
        return TextToImage(prompt, width, height, **common), kinds
    if task == "image":
        return ImageToImage(prompt, noise(number, width), 0.7, **common), kinds
    common["control_images"] = ()  # which would have to cover the document
    mask = np.zeros((width, width, 1), np.uint8)
    mask[width // 4 : width // 2, width // 4 : width // 2] = 255
    selection = Pixels(mask.tobytes(), width, width, 1, SampleType.U8, ColorSpace.NON_COLOR)
    return Inpaint(prompt, noise(number, width), selection, 0.8, **common), kinds


def _adapters(model: str, number: int, chance: random.Random) -> Mapping[str, Any]:
    loras = chance.sample(_LORAS, chance.choice((0, 1, 2)))
    control = model == "stable_diffusion" and chance.random() < 0.3
    return {
        "adapters": tuple(
            Adapter(AdapterKind.LORA, f"{model}-{name}", round(chance.uniform(-1, 1), 2))
            for name in loras
        ),
        "control_images": (ControlImage(ControlKind.DEPTH, noise(number, 64), 0.8),)
        if control
        else (),
        "reference_images": tuple(
            ReferenceImage(noise(number + k, 40), 0.5) for k in range(chance.choice((0, 0, 1, 2)))
        ),
    }
