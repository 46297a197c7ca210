"""`scumble models` against a real server and a stand-in hub: list, install, use, remove, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file

import scumble.client
from core_server.pipelines.tiny import make_tiny_pipeline
from scumble.client import (
    AdapterKind,
    Client,
    FailedPrecondition,
    InvalidRequest,
    ModelNotFound,
    ModelState,
    TextToImage,
)
from tests.fakes.hub import FakeHub, running_hub
from tests.real_server import wait_for_worker

_LORA = {"lora_unet_down_blocks_1_attentions_0_attn2_to_k.lora_down.weight": torch.zeros(4, 2048)}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    folder = tmp_path_factory.mktemp("hub")
    make_tiny_pipeline(seed=7).save_pretrained(folder)
    with running_hub() as running:
        files = {str(it.relative_to(folder)): it for it in folder.rglob("*") if it.is_file()}
        running.repositories["artist/small"] = {k: it.read_bytes() for k, it in files.items()}
        running.cards["artist/small"] = {"license": "other", "license_name": "sai-nc-community"}
        metadata = {"ss_tag_frequency": json.dumps({"a": {"moss": 3, "stone": 9}})}
        running.repositories["artist/lora"] = {"style.safetensors": save(_LORA, metadata)}
        running.cards["artist/lora"] = {"license": "mit"}
        yield running


@pytest.fixture(scope="module")
def data_dir(hub: FakeHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running server's data folder; its Hub is the stand-in."""
    folder = tmp_path_factory.mktemp("data")
    command = [sys.executable, "-m", "core_server", "serve", "--port", "0", "--model", "tiny"]
    command += ["--device", "cpu", "--data-dir", str(folder), "--until-stdin-closes"]
    environment = os.environ | {"HF_ENDPOINT": hub.address, "OMP_NUM_THREADS": "1"}
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        environment.pop(name, None)  # other tests of this process run pipelines, which set it
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
    try:
        while not (folder / "server.json").exists():
            assert process.poll() is None
            time.sleep(0.05)
        wait_for_worker(process, folder)
        yield folder
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(100)


@pytest.fixture
def run(data_dir: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "core_server", *arguments, "--data-dir", str(data_dir)],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return call


def _loaded(client: Client) -> set[str]:
    return {it.model_id for it in client.models() if it.state is ModelState.LOADED}


def test_a_model_comes_is_used_and_goes(run, hub: FakeHub, data_dir: Path) -> None:
    listed = run("models", "list", "--all")
    assert "flux2-klein" in listed.stdout and "Apache-2.0 (commercial)" in listed.stdout
    asked = run("models", "install", "artist/small")
    assert asked.returncode == 1
    assert "Stability-AI-NC-Community: commercial use is not allowed" in asked.stdout
    assert "accept it with --yes" in asked.stderr
    assert not (data_dir / "models").exists(), "nothing is fetched before"
    done = run("models", "install", "artist/small", "--yes")
    assert done.returncode == 0, done.stderr
    assert "use it with --model small" in done.stdout
    with scumble.client.connect(data_dir=data_dir) as client:
        [small] = [it for it in client.models() if it.model_id == "small"]
        assert (small.license, small.commercial_use) == ("Stability-AI-NC-Community", False)
        request = TextToImage("moss", 256, 256, model="small", num_inference_steps=1, seed=1)
        [patch] = client.submit(request).result(timeout=300)
        assert patch.recipe["model"] == "small"
        assert _loaded(client) == {"tiny", "small"}
        assert client.unload_model("small").state is ModelState.INSTALLED
        assert _loaded(client) == {"tiny"}
        client.unload_model("tiny")
        assert _loaded(client) == set()
        with pytest.raises(FailedPrecondition, match="installed already"):
            list(client.install("artist/small", accept_license=True))
        with pytest.raises(FailedPrecondition, match="accept it"):
            list(client.install("artist/small", "other"))
    gone = json.loads(run("models", "remove", "small", "--json").stdout)
    assert gone["freed_bytes"] > 100_000
    with scumble.client.connect(data_dir=data_dir) as client:
        assert "small" not in {it.model_id for it in client.models()}
        with pytest.raises(ModelNotFound):
            client.submit(request)


def test_adapters_are_installed_and_listed(run, data_dir: Path, tmp_path: Path) -> None:
    done = run("models", "install", "artist/lora", "--name", "mossy", "--yes")
    assert "use it with --lora mossy" in done.stdout, done.stderr
    path = tmp_path / "word.safetensors"
    save_file({"emb_params": torch.zeros(2, 768)}, path)
    assert run("models", "install", "word.safetensors", "--yes").returncode == 0
    with scumble.client.connect(data_dir=data_dir) as client:
        mossy, word = client.adapters()
        assert (mossy.name, mossy.family) == ("mossy", "stable_diffusion_xl")
        assert (mossy.trigger_words, mossy.license) == (("stone", "moss"), "MIT")
        assert (word.name, word.kind) == ("word", AdapterKind.TEXTUAL_INVERSION)
        assert [it.name for it in client.adapters("tiny")] == ["word"]
        for name in ("mossy", "word"):
            assert client.remove_model(name) > 0
        assert client.adapters() == []


def test_a_download_that_is_left_goes_on(hub: FakeHub, data_dir: Path) -> None:
    hub.trouble["unet/diffusion_pytorch_model.safetensors"] = ["slow"]
    with scumble.client.connect(data_dir=data_dir) as client:
        for progress in client.install("artist/small", "later", accept_license=True):
            if progress.done_bytes:
                break
        deadline = time.monotonic() + 60
        while True:  # the first download notices at its next bytes that nobody waits any more
            try:
                *_, last = client.install("artist/small", "later", accept_license=True)
                break
            except FailedPrecondition as error:
                assert "right now" in str(error)
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert last.model is not None
        assert last.model.model_id == "later"
        client.remove_model("later")


def test_what_was_put_into_the_folder_by_hand(run, data_dir: Path, tmp_path: Path) -> None:
    """While the server runs: what is whole paints at once, of the rest is said why it cannot."""
    models = data_dir / "models"
    for name in ("mine", "hollow"):
        make_tiny_pipeline(seed=8).save_pretrained(models / name)
    shutil.rmtree(models / "hollow" / "unet")
    (models / "dream.ckpt").write_bytes(b"PK")
    (models / "cut.safetensors").write_bytes(struct.pack("<Q", 99) + b"{")
    # A download of the same name beside it: the installed one is meant.
    (tmp_path / "cut.safetensors").touch()
    try:
        small = ("--width", "64", "--height", "64", "--num-inference-steps", "1", "-o", "a.png")
        painted = run("generate", "moss", "--model", "mine", *small)
        assert painted.returncode == 0, painted.stderr
        listed = run("models", "list").stdout
        for name, reason in (
            ("hollow", "the folder of its unet is missing"),
            ("dream.ckpt", "is a pickle by its name"),
            ("cut.safetensors", "is cut off; download it again"),
        ):
            assert f"! {name}" in listed and reason in listed
            for refused in (
                run("generate", "moss", "--model", name, *small),
                run("models", "info", name),
            ):
                assert refused.returncode == 1 and reason in refused.stderr
    finally:
        shutil.rmtree(models)


@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        ("artist/nobody", ModelNotFound, "no model 'artist/nobody'"),
        ("/nowhere/x.safetensors", ModelNotFound, "There is no file"),
        ("", InvalidRequest, "The source is empty"),
    ],
)
def test_refusals_reach_the_client(data_dir: Path, source, kind, words) -> None:
    with scumble.client.connect(data_dir=data_dir) as client, pytest.raises(kind, match=words):
        client.install_plan(source)


@pytest.mark.parametrize("model_id", ["default", "tiny", "nobody", "../jobs"])
def test_what_is_not_removed(data_dir: Path, model_id: str) -> None:
    with (
        scumble.client.connect(data_dir=data_dir) as client,
        pytest.raises((FailedPrecondition, ModelNotFound, InvalidRequest)),
    ):
        client.remove_model(model_id)
    assert (data_dir / "jobs.sqlite3").exists()
