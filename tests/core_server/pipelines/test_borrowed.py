"""Files with a denoiser alone: the rest comes from the folder beside them, and the picture is the folder's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core_server.canvas.geometry import Extent
from core_server.errors import ModelLoadFailed, ScumbleServerError
from core_server.pipelines.catalogue import Catalogue
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.request import Parameters, TextToImage
from core_server.pipelines.sources.install import Installer
from core_server.pipelines.sources.lenders import lender_of
from core_server.pipelines.sources.offer import Shelf
from core_server.pipelines.sources.weights import read_header
from tests.core_server.pipelines.conftest import quiet
from tests.core_server.pipelines.dit_layout import Tensors, narrow_flux, original
from tests.core_server.pipelines.tiny_families import make_tiny_family, save_tiny_family

NAMES = ("flux", "flux_2_klein", "qwen_image", "stable_diffusion_3", "z_image")


def request(model: str) -> TextToImage:
    parameters = Parameters(prompt="moss", model=model, num_inference_steps=2, seed=3)
    return TextToImage(parameters=parameters, extent=Extent(64, 64))


def written(path: Path, tensors: Tensors) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return path


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."], ids=["alone", "in a whole file"])
def test_the_original_layout_paints_what_its_folder_paints(
    tmp_path: Path, name: str, prefix: str
) -> None:
    folder = tmp_path / "models" / "base"
    tensors = original(name, save_tiny_family(name, folder).transformer)
    tensors = {prefix + key: value for key, value in tensors.items()}
    if prefix:
        tensors["text_encoders.clip_l.weight"] = torch.zeros(2)
    written(tmp_path / "models" / "file.safetensors", tensors)
    runtime = LocalRuntime("base", "cpu", tmp_path)
    [expected] = runtime.run(request("base"), {}, quiet)
    with narrow_flux(32):
        [output] = runtime.run(request("file.safetensors"), {}, quiet)
    assert np.array_equal(output.pixels.array, expected.pixels.array)
    assert output.recipe["model_family"] == name
    assert "text encoders and autoencoder of base" in output.recipe["notes"]
    assert output.recipe["model_sha256"] != expected.recipe["model_sha256"]


def test_flux_in_diffusers_own_layout_and_the_base_that_fits(tmp_path: Path) -> None:
    """Of several folders the one with the same inputs; the file's own .json may name another."""
    for folder in ("a-fill", "b-schnell", "c-dev"):
        save_tiny_family("flux_fill" if folder == "a-fill" else "flux", tmp_path / folder)
    config = tmp_path / "b-schnell" / "transformer" / "config.json"
    config.write_text(
        config.read_text().replace('"guidance_embeds": true', '"guidance_embeds": false')
    )
    state = make_tiny_family("flux", seed=9).transformer.state_dict()
    path = written(tmp_path / "tuned.safetensors", dict(state))
    assert lender_of(path, read_header(path)) == tmp_path / "c-dev"
    path.with_suffix(".json").write_text('{"base": "a-fill"}')
    with pytest.raises(ModelLoadFailed, match=r"'a-fill', which its \.json names, does not fit"):
        lender_of(path, read_header(path))


def test_installing_needs_the_base_first(tmp_path: Path) -> None:
    tensors = original("z_image", make_tiny_family("z_image", seed=4).transformer)
    path = written(tmp_path / "tuned.safetensors", tensors)
    data = tmp_path / "data"
    installer = Installer(data)
    with pytest.raises(ModelLoadFailed, match=r"borrows its text encoders.*install z-image-turbo"):
        installer.install(installer.offer(str(path)), lambda _: None)
    save_tiny_family("z_image", data / "models" / "base")
    installed = installer.install(installer.offer(str(path)), lambda _: None)
    assert installed.shelf is Shelf.MODELS
    assert Catalogue("default", data).names()[-1] == "tuned.safetensors"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("drop", "does not fit|tensors are missing|not a whole model"),
        ("scaled", "8-bit numbers with scales"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, change: str, words: str) -> None:
    tensors = original(
        "z_image", save_tiny_family("z_image", tmp_path / "models" / "b").transformer
    )
    if change == "drop":
        del tensors["layers.0.attention.out.weight"]
    else:
        tensors["layers.0.attention.qkv.scale_weight"] = torch.ones(1)
    written(tmp_path / "models" / "x.safetensors", tensors)
    runtime = LocalRuntime("b", "cpu", tmp_path)
    with pytest.raises(ScumbleServerError, match=words) as caught:
        runtime.run(request("x.safetensors"), {}, quiet)
    assert "\n" not in caught.value.message
