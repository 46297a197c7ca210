"""How an image was made can be brought back whole: style, LoRAs, scheduler, maps' and variations' own seeds."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from tests.real_server import RealServer

from .conftest import MODEL, SERVER_PYTHON, addon
from .test_repaint import pixels

ROOT = Path(__file__).parents[3]
MAKE_LORA = """
import sys
from core_server.pipelines.tiny import make_tiny_pipeline
from safetensors.torch import save_file
from tests.core_server.pipelines.tiny_loras import diffusers_lora
save_file(diffusers_lora(make_tiny_pipeline(), 1), sys.argv[1])
"""


def running() -> Any:
    return addon("host.controller").get()


@pytest.fixture(scope="session")
def moss(shared_server: RealServer) -> str:
    """A LoRA on the server; it fits the tiny model."""
    if MODEL != "tiny":
        pytest.skip("there is no LoRA for this model")
    folder = shared_server.data_dir / "adapters"
    folder.mkdir(exist_ok=True)
    path = str(folder / "moss.safetensors")
    subprocess.run([SERVER_PYTHON, "-c", MAKE_LORA, path], cwd=ROOT, check=True)
    return "moss"


def test_lists_of_the_server_are_offered(scumble: Any, server: RealServer, moss: str) -> None:
    bpy.ops.scumble.check_server()
    catalogue = running().catalogue
    assert "watercolour" in catalogue.styles
    assert catalogue.loras == ("moss",)
    assert "euler" in catalogue.schedulers
    assert catalogue.default_model == MODEL
    assert catalogue.size_of("") == catalogue.size_of(MODEL)
    assert catalogue.size_of("no-such-model") is None


def test_generate_again_brings_all_of_it_back(scumble: Any, server: RealServer, moss: str) -> None:
    scumble.prompt, scumble.negative_prompt, scumble.style = "wall", "moss", "watercolour"
    scumble.scheduler, scumble.place = "ddim", "IMAGE"
    bpy.ops.scumble.add_lora()
    scumble.loras[0].name, scumble.loras[0].weight = moss, -0.5
    bpy.ops.scumble.generate_texture()
    first = running().last_images[0]
    wanted = pixels(bpy.data.images[first])
    scumble.loras.clear()
    scumble.prompt = scumble.negative_prompt = scumble.style = scumble.scheduler = ""
    assert bpy.ops.scumble.generate_again(image=first) == {"FINISHED"}
    assert (scumble.prompt, scumble.negative_prompt) == ("wall", "moss")
    assert (scumble.style, scumble.scheduler) == ("watercolour", "ddim")
    assert [(lora.name, lora.weight) for lora in scumble.loras] == [(moss, -0.5)]
    assert np.array_equal(pixels(bpy.data.images[running().last_images[0]]), wanted)
    scumble.loras.clear()
    bpy.ops.scumble.generate_texture()
    assert not np.array_equal(pixels(bpy.data.images[running().last_images[0]]), wanted)


def test_generate_again_of_one_of_several(scumble: Any, server: RealServer) -> None:
    scumble.count, scumble.place = 3, "IMAGE"
    bpy.ops.scumble.generate_texture()
    bpy.ops.scumble.choose_variation(number=2)
    bpy.ops.scumble.accept_variation()
    third = running().last_images[0]
    assert bpy.ops.scumble.generate_again(image=third) == {"FINISHED"}
    assert np.array_equal(
        pixels(bpy.data.images[running().last_images[0]]), pixels(bpy.data.images[third])
    )
