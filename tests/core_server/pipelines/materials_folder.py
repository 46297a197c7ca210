"""A tiny model in the embedded model's place: random weights, with all that a model of materials may bring."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from core_server.pipelines.catalogue import Catalogue
from core_server.pipelines.few_step import WEIGHTS as FEW_STEP_WEIGHTS
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.maps_network import CONFIG, WEIGHTS, MapsNetwork
from core_server.pipelines.tiny import make_tiny_pipeline

FEW_STEP = {
    "adapter": "few_step",
    "num_inference_steps": 4,
    "guidance_scale": 1.0,
    "scheduler": "euler_trailing",
}
PROFILE = {
    "min_extent": [16, 16],
    "multiple": 16,
    "num_inference_steps": 6,
    "guidance_scale": 3.0,
    "scheduler": "euler",
    "layout_strength": 0.5,
    "layout_detail": 0.5,
    "only_materials": True,
    "few_step": FEW_STEP,
}


def make_materials_folder(folder: Path) -> Path:
    """Writes the model to `folder`."""
    pipeline = make_tiny_pipeline()
    pipeline.save_pretrained(folder)
    (folder / "profile.json").write_text(json.dumps(PROFILE), "utf-8")
    _save_few_step(folder / "few_step", pipeline.unet)
    save_maps(folder / "maps")
    return folder


def save_maps(folder: Path) -> MapsNetwork:
    """A narrow maps network with random weights, made from nothing but the code."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = MapsNetwork((8, 8, 8, 8))
    folder.mkdir(parents=True)
    save_file(network.state_dict(), folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps({"widths": network.widths}), "utf-8")
    return network.eval()


def materials_runtime(folder: Path, data: Path) -> LocalRuntime:
    """A runtime whose default model is the one in `folder`."""
    torch.set_num_threads(1)
    return LocalRuntime("", "cpu", data, Catalogue("", data, embedded=folder))


def _save_few_step(folder: Path, unet: torch.nn.Module) -> None:
    generator = torch.Generator("cpu").manual_seed(2)
    lora = {}
    for name, module in unet.named_modules():
        if name.endswith(("to_q", "to_v")):
            wide, narrow = module.weight.shape
            lora[f"unet.{name}.lora_A.weight"] = torch.randn(4, narrow, generator=generator) * 0.3
            lora[f"unet.{name}.lora_B.weight"] = torch.randn(wide, 4, generator=generator) * 0.3
    folder.mkdir()
    save_file(lora, folder / FEW_STEP_WEIGHTS)
