"""Finding, checking and loading models, and the tables beside them. Nothing here may reach for the network."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from core_server.canvas.geometry import Extent
from core_server.errors import InvalidRequest, ModelLoadFailed, ModelNotFound
from core_server.pipelines.adapter_files import AdapterShelf
from core_server.pipelines.catalogue import Catalogue, profile_of
from core_server.pipelines.control_files import ControlShelf
from core_server.pipelines.devices import choose_device
from core_server.pipelines.loader import load_model
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.reference_files import ReferenceShelf
from core_server.pipelines.request import Parameters, TextToImage
from core_server.pipelines.schedulers import (
    CONSISTENCY_SCHEDULERS,
    SCHEDULERS,
    Schedulers,
    make_scheduler,
    scheduler_name,
)
from core_server.pipelines.sources.weights import read_header
from core_server.pipelines.strength import require_steps, steps_run
from core_server.pipelines.tiny import make_tiny_pipeline
from tests.core_server.pipelines.conftest import quiet

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The tiny model as a diffusers folder with fp16 weights, as models are usually shipped."""
    path = tmp_path_factory.mktemp("models") / "half"
    make_tiny_pipeline().to(dtype=torch.float16).save_pretrained(path)
    return path


def test_the_tiny_model_is_the_same_in_every_process():
    code = (
        "from core_server.pipelines import offline; offline.configure()\n"
        "from core_server.pipelines.catalogue import ModelFiles\n"
        "from core_server.pipelines.loader import load_model\n"
        "import torch\n"
        "print(load_model(ModelFiles('tiny', None), torch.device('cpu')).weights_hash.result())"
    )
    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    state = torch.random.get_rng_state()
    here = load_model(Catalogue("tiny", _nowhere()).find(""), CPU).weights_hash.result()
    assert here == there
    assert (torch.random.get_rng_state() == state).all(), "the global generator is kept"


def _nowhere():
    return Path("/nowhere")


def test_no_text_is_unknown_to_the_tiny_tokenizer():
    tokenizer = make_tiny_pipeline().tokenizer
    ids = tokenizer("Ünïcode 字 🎨 <b>!?").input_ids
    special = {tokenizer.bos_token_id, tokenizer.eos_token_id}
    assert ids[0] == tokenizer.bos_token_id
    assert ids[-1] == tokenizer.eos_token_id
    assert not special & set(ids[1:-1])


def test_half_precision_files_run_in_single_precision_on_the_cpu(folder):
    catalogue = Catalogue(str(folder), _nowhere())
    model = load_model(catalogue.find(""), CPU)
    for name in ("unet", "vae", "text_encoder"):
        dtypes = {parameter.dtype for parameter in model.components[name].parameters()}
        assert dtypes == {torch.float32}
    assert model.profile.scheduler == "euler"
    assert model.profile.multiple == 8
    runtime = LocalRuntime(str(folder), "cpu", _nowhere())
    request = TextToImage(
        parameters=Parameters(prompt="moss", num_inference_steps=1), extent=Extent(256, 256)
    )
    (output,) = runtime.run(request, {}, quiet)
    assert output.recipe["model"] == str(folder)


def test_profile_json_replaces_what_was_derived(folder, tmp_path):
    path = tmp_path / "models" / "mine"
    shutil.copytree(folder, path)
    own = {"title": "Mine", "min_extent": [64, 32], "multiple": 32, "model_id": "ignored"}
    (path / "profile.json").write_text(json.dumps(own))
    catalogue = Catalogue("default", tmp_path)
    profile = profile_of(catalogue.find("mine"))
    assert (profile.model_id, profile.title, profile.multiple) == ("mine", "Mine", 32)
    assert profile.min_extent == Extent(64, 32)
    assert "mine" in catalogue.names()
    (path / "profile.json").write_text('{"multiple": "many"}')
    with pytest.raises(ModelLoadFailed, match=r"profile\.json.*broken"):
        profile_of(catalogue.find("mine"))


def test_profiles_are_read_again_when_their_files_change(folder, tmp_path):
    """A worker tells of all models after each picture."""
    path = tmp_path / "models" / "mine"
    shutil.copytree(folder, path)
    catalogue = Catalogue("tiny", tmp_path)

    def mine():
        return next(it for it in catalogue.profiles() if it.model_id == "mine")

    first = mine()
    assert mine() is first
    (path / "profile.json").write_text('{"title": "Ours"}')
    assert mine().title == "Ours"
    (path / "profile.json").write_text('{"title": "Nobody\'s"}')
    assert mine().title == "Nobody's"
    (path / "unet" / "more.safetensors").write_bytes(bytes(5))
    assert mine().size_bytes == first.size_bytes + 5


@pytest.mark.skipif(os.name == "nt", reason="links need a right of their own")
def test_a_file_that_is_gone_spoils_no_list(folder, tmp_path):
    """A link into the Hub's cache that was emptied; and notes of people, which are no models."""
    models = tmp_path / "models"
    for name in ("good", "spoilt"):
        shutil.copytree(folder, models / name)
    weights = models / "spoilt" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    weights.symlink_to(tmp_path / "gone")
    (models / "notes.txt").write_text("buy milk")
    catalogue = Catalogue("tiny", tmp_path)
    assert [it.model_id for it in catalogue.profiles()] == ["tiny", "default", "good"]
    [found], unusable = catalogue.look()
    assert (found.model_id, list(unusable)) == ("good", ["spoilt"])
    with pytest.raises(ModelLoadFailed, match=r"'spoilt' cannot be read"):
        catalogue.profile("spoilt")
    for shelf in ("adapters", "controls", "references"):
        (tmp_path / shelf).mkdir()
        (tmp_path / shelf / "x.safetensors").symlink_to(tmp_path / "gone")
    for shelves in (AdapterShelf, ControlShelf, ReferenceShelf):
        assert shelves(tmp_path).all() == ()


def test_default_is_the_embedded_model_once_there_is_one(folder, tmp_path):
    empty = Catalogue("", tmp_path, embedded=tmp_path)
    assert empty.find("").path is None
    assert "not trained" in profile_of(empty.find("default")).title
    full = Catalogue("", tmp_path, embedded=folder)
    assert full.find("default").path == folder
    assert profile_of(full.find("")).model_id == "default"


@pytest.mark.parametrize(
    "name", ["gone", "/etc", "../x", "owner/not-in-the-cache", "a/b/c", "C:\\x"]
)
def test_unknown_models(tmp_path, name):
    with pytest.raises(ModelNotFound, match="no model"):
        Catalogue("tiny", tmp_path).find(name)


def test_only_the_servers_own_path_is_served(folder, tmp_path):
    with pytest.raises(ModelNotFound):
        Catalogue("tiny", tmp_path).find(str(folder))


def _drop_tensor(path):
    file = path / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors["conv_in.weight"] = tensors["conv_in.weight"][:3].clone()
    save_file(tensors, file)


def _header(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (pickle.dumps({"a": 1}), "is a pickle"),
        (b"PK\x03\x04" + b"\0" * 60, "is a pickle"),
        (b"", "is empty; download it again"),
        (b"\xff" * 40, "not a .safetensors file"),
        (_header(b"{broken}"), "header of .* is broken"),
        (
            _header(b'{"w":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}') + b"\0" * 8,
            "cut off",
        ),
    ],
    ids=["pickle", "zip", "empty", "noise", "broken header", "cut off"],
)
def test_files_are_judged_by_their_bytes(tmp_path, content, words):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelLoadFailed, match=words):
        read_header(path)
    runtime = LocalRuntime(str(path), "cpu", tmp_path)
    with pytest.raises(ModelLoadFailed, match=words):
        runtime.load("")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: (path / "unet" / "config.json").unlink(), "could not be loaded"),
        (lambda path: (path / "unet" / "config.json").write_text("{"), "cannot be read"),
        (
            lambda path: (path / "model_index.json").write_text('{"_class_name": "WanPipeline"}'),
            "WanPipeline, which this version cannot run",
        ),
        (_drop_tensor, "could not be loaded"),
    ],
    ids=["config missing", "config broken", "unknown family", "weights missing"],
)
def test_broken_folders_get_one_sentence(folder, tmp_path, change, words):
    path = tmp_path / "broken"
    shutil.copytree(folder, path)
    change(path)
    with pytest.raises(ModelLoadFailed, match=words) as caught:
        LocalRuntime(str(path), "cpu", tmp_path).load("")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("device", ["cuda:77", "abacus", ""])
def test_unknown_devices(device):
    with pytest.raises(ModelLoadFailed, match="choose auto, cpu"):
        choose_device(device)


def test_steps_run_is_what_diffusers_counts(stock):
    pipeline = stock("StableDiffusionImg2ImgPipeline", "ddim")
    strengths = [*np.linspace(0, 1, 21).tolist(), 1 / 3, 0.29, 0.57, 0.7, 0.999999]
    for steps in (1, 2, 3, 7, 10, 30, 100, 999):
        pipeline.scheduler.set_timesteps(steps)
        for strength in strengths:
            _, expected = pipeline.get_timesteps(steps, strength, "cpu")
            assert steps_run(steps, strength) == expected


def test_the_advice_for_too_little_strength_works():
    for steps in (1, 3, 7, 8, 30, 333):
        for strength in (0.001, 0.03, 0.1, 0.29):
            if steps_run(steps, strength):
                continue
            with pytest.raises(InvalidRequest) as caught:
                require_steps(steps, strength, "x")
            words = caught.value.message.rstrip(".").split()
            assert steps_run(steps, float(words[words.index("strength", 5) + 2])) >= 1
            assert steps_run(int(words[-1]), strength) >= 1


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_is_what_its_name_says(name):
    config = make_tiny_pipeline().scheduler.config
    scheduler = make_scheduler(name, config)
    choice = SCHEDULERS[name]
    assert type(scheduler).__name__ == choice.class_name
    assert all(scheduler.config[key] == value for key, value in choice.settings.items())
    saved = {**scheduler.config, "_class_name": choice.class_name}
    assert scheduler_name(saved) == name
    assert scheduler.config.beta_schedule == "scaled_linear", "the model's own settings are kept"
    steps = 2 if name in CONSISTENCY_SCHEDULERS else 4  # the class's own default allows only two
    scheduler.set_timesteps(steps)
    assert len(scheduler.timesteps) >= steps


@pytest.mark.parametrize("name", ["euler", "euler_karras", "dpmpp_2m", "heun", "flow_euler"])
@pytest.mark.parametrize(("steps", "begin"), [(1, None), (4, None), (4, 1)])
def test_a_models_schedulers_are_fresh_and_count_as_stock_ones(name, steps, begin):
    config = make_tiny_pipeline().scheduler.config
    kind = getattr(diffusers, SCHEDULERS[name].class_name)
    kept = Schedulers(config)
    for _ in range(2):  # the second one knows nothing of the first
        schedulers = kind.from_config(config, **SCHEDULERS[name].settings), kept.fresh(name)
        noise = torch.Generator().manual_seed(0)
        for scheduler in schedulers:
            scheduler.set_timesteps(steps, device="cpu")
            if begin is not None:
                scheduler.set_begin_index(begin)
        stock, ours = schedulers
        assert torch.equal(stock.timesteps, ours.timesteps)
        start = torch.randn(1, 4, 4, 4, generator=noise)
        latents = [start, start]
        for expected, timestep in zip(stock.timesteps[begin:], ours.timesteps[begin:], strict=True):
            prediction = torch.randn(1, 4, 4, 4, generator=noise)
            for k, (scheduler, t) in enumerate(zip(schedulers, (expected, timestep), strict=True)):
                given = latents[k]
                if hasattr(scheduler, "scale_model_input"):
                    given = scheduler.scale_model_input(given, t)
                latents[k] = scheduler.step(prediction + given, t, latents[k]).prev_sample
            assert torch.equal(*latents)
            assert stock.step_index == ours.step_index


def test_other_single_files_are_refused(tmp_path):
    path = tmp_path / "lora.safetensors"
    save_file({"lora.up.weight": torch.zeros(1)}, path)
    runtime = LocalRuntime(str(path), "cpu", tmp_path)
    with pytest.raises(ModelLoadFailed, match="it is a LoRA"):
        runtime.load("")
