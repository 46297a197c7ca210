"""Installing from a hub, an address and a file, over real HTTP; and everything that goes wrong on the way."""

from __future__ import annotations

import errno
import hashlib
import json
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import save, save_file

from core_server.errors import (
    FailedPrecondition,
    InvalidRequest,
    LimitExceeded,
    ModelLoadFailed,
    ScumbleServerError,
    SourceNotFound,
    TaskCancelled,
    Unavailable,
)
from core_server.pipelines import hashes
from core_server.pipelines.catalogue import Catalogue, profile_of
from core_server.pipelines.reference_files import ReferenceShelf
from core_server.pipelines.sources import fetch
from core_server.pipelines.sources.disk import RealDisk
from core_server.pipelines.sources.hub import Hub
from core_server.pipelines.sources.install import Installer
from core_server.pipelines.sources.offer import OfferedFile, Progress, Shelf
from core_server.pipelines.tiny import make_tiny_pipeline
from tests.fakes.hub import FakeHub, running_hub

_LORA = {"lora_unet_down_blocks_1_attentions_0_attn2_to_k.lora_down.weight": torch.zeros(4, 768)}


@pytest.fixture(scope="module")
def tiny_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The tiny model as a hub would have it: with pickles, code and a single file beside it."""
    folder = tmp_path_factory.mktemp("tiny")
    make_tiny_pipeline().save_pretrained(folder)
    files = {
        str(it.relative_to(folder)): it.read_bytes() for it in folder.rglob("*") if it.is_file()
    }
    extra = {
        "LICENSE.md": b"Be kind.",
        "unet/diffusion_pytorch_model.bin": b"PK",
        "unet/run_me.py": b"print('never')",
        "unet/flax_model.msgpack": b"x",
        "whole.safetensors": save({"w": torch.zeros(9)}),
        "profile.json": b'{"title": "a trick"}',
    }
    return files | extra


@pytest.fixture
def hub(tiny_files: dict[str, bytes]) -> Iterator[FakeHub]:
    with running_hub() as running:
        running.repositories["artist/small"] = dict(tiny_files)
        running.cards["artist/small"] = {"license": "apache-2.0"}
        running.repositories["artist/lora"] = {"style.safetensors": save(_LORA, {"ss_tag": "x"})}
        yield running


@pytest.fixture(autouse=True)
def _online_and_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    # This process has promised to stay offline, as the worker does; installing is the gateway's business.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(fetch, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(fetch, "_CHUNK", 4096)


def quiet(_: Progress) -> None:
    """Goes on."""


def installer(hub: FakeHub, folder: Path, disk: Any = None) -> Installer:
    return Installer(folder, Hub(hub.address), disk)


def install(hub: FakeHub, folder: Path, source: str = "artist/small", **more: Any) -> Any:
    one = installer(hub, folder, **more)
    return one.install(one.offer(source), quiet)


def test_a_repository_becomes_a_model_of_the_catalogue(hub: FakeHub, tmp_path: Path) -> None:
    one = installer(hub, tmp_path)
    offer = one.offer("artist/small")
    assert (offer.name, offer.shelf) == ("small", Shelf.MODELS)
    assert offer.licence.sentence == "Apache-2.0: commercial use is allowed"
    told: list[Progress] = []
    installed = one.install(offer, told.append)
    assert installed.path == tmp_path / "models" / "small"
    names = {
        str(it.relative_to(installed.path)) for it in installed.path.rglob("*") if it.is_file()
    }
    assert not any(name.endswith((".bin", ".py", ".msgpack")) or "whole" in name for name in names)
    assert {"model_index.json", "LICENSE.md", "tokenizer/tokenizer.json"} <= names
    assert [it.done_bytes for it in told] == sorted(it.done_bytes for it in told)
    assert told[-1].done_bytes == told[-1].total_bytes == offer.size_bytes
    catalogue = Catalogue("default", tmp_path)
    assert "small" in catalogue.names()
    profile = profile_of(catalogue.find("small"))
    assert (profile.license, profile.commercial_use, profile.title) == ("Apache-2.0", True, "small")
    record = json.loads((installed.path / "installed.json").read_text())
    assert record["source"].startswith("artist/small@0123456789")
    assert len(record["files"]["unet/diffusion_pytorch_model.safetensors"]) == 64
    assert not list((tmp_path / "models" / ".incoming").iterdir())
    with pytest.raises(FailedPrecondition, match="installed already"):
        one.install(offer, quiet)
    assert one.remove("small") > offer.size_bytes
    assert "small" not in catalogue.names()
    with pytest.raises(SourceNotFound, match="Nothing is installed"):
        one.remove("small")


@pytest.mark.parametrize("trouble", [["cut", "cut"], ["cut", "no ranges"], ["slow"]], ids=" ".join)
def test_broken_connections_are_continued(hub: FakeHub, tmp_path: Path, trouble: list[str]) -> None:
    hub.trouble["unet/diffusion_pytorch_model.safetensors"] = list(trouble)
    installed = install(hub, tmp_path)
    asked = hub.fetched("diffusion_pytorch_model.safetensors")
    if "cut" in trouble:
        assert len([it for it in asked if it]) == trouble.count("cut")
    there = (installed.path / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    assert there == hub.repositories["artist/small"]["unet/diffusion_pytorch_model.safetensors"]


def test_an_installation_that_was_stopped_goes_on(hub: FakeHub, tmp_path: Path) -> None:
    one = installer(hub, tmp_path)
    offer = one.offer("artist/small")
    seen = 0

    def stop(progress: Progress) -> None:
        nonlocal seen
        seen = progress.done_bytes
        if progress.done_bytes > offer.size_bytes // 2:
            raise TaskCancelled

    with pytest.raises(TaskCancelled):
        one.install(offer, stop)
    assert "small" not in Catalogue("default", tmp_path).names()
    before = len(hub.requests)
    told: list[Progress] = []
    again = installer(hub, tmp_path)
    again.install(again.offer("artist/small"), told.append)
    asked = [asked for path, asked in hub.requests[before:] if "/resolve/" in path and asked]
    assert len(asked) == 1, "one file was half here, the whole ones were not asked for again"
    assert told[-1].done_bytes == offer.size_bytes
    assert seen <= told[-1].done_bytes


@pytest.mark.parametrize(
    ("trouble", "kind", "words"),
    [
        (["404"], SourceNotFound, "404"),
        (["wrong"], ModelLoadFailed, "another SHA-256 than its source announces.*has been deleted"),
        (["cut"] * 40, Unavailable, "broke off.*goes on where it stopped"),
    ],
    ids=["404", "wrong hash", "cut again and again"],
)
def test_failed_downloads_are_one_sentence(
    hub: FakeHub, tmp_path: Path, trouble: list[str], kind: type[ScumbleServerError], words: str
) -> None:
    hub.trouble["vae/diffusion_pytorch_model.safetensors"] = trouble
    with pytest.raises(kind, match=words) as caught:
        install(hub, tmp_path)
    assert "\n" not in caught.value.message
    assert Catalogue("default", tmp_path).names() == ("default", "tiny")
    hub.trouble.clear()
    install(hub, tmp_path)
    assert "small" in Catalogue("default", tmp_path).names()


def test_without_a_network_nothing_is_said_to_go_on(tmp_path: Path) -> None:
    with running_hub() as gone:
        one = installer(gone, tmp_path)
    with pytest.raises(Unavailable, match=r"could not be reached .* command again\.$"):
        one.offer("artist/small")


class SmallDisk(RealDisk):
    """free: bytes it says it has; writes: bytes it takes before it is full."""

    def __init__(self, free: int, writes: int) -> None:
        self.free, self.writes = free, writes

    def free_bytes(self, folder: Path) -> int:
        return self.free

    def open_part(self, path: Path) -> BinaryIO:
        stream = super().open_part(path)
        disk, write = self, stream.write

        class Filling:
            def __getattr__(self, name: str) -> Any:
                return getattr(stream, name)

            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: object) -> None:
                stream.close()

            def write(self, data: bytes) -> int:
                disk.writes -= len(data)
                if disk.writes < 0:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return write(data)

        return Filling()  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("free", "writes", "words"),
    [(1000, 1 << 40, "needs 5 MiB and the disk"), (1 << 40, 50_000, "disk became full")],
    ids=["before", "meanwhile"],
)
def test_a_full_disk(hub: FakeHub, tmp_path: Path, free: int, writes: int, words: str) -> None:
    with pytest.raises(LimitExceeded, match=words):
        install(hub, tmp_path, disk=SmallDisk(free, writes))
    install(hub, tmp_path)


@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        ("artist/nobody", SourceNotFound, "no model 'artist/nobody'"),
        ("artist/gated", FailedPrecondition, "accept the terms"),
        ("artist/small/gone.safetensors", SourceNotFound, "has no file 'gone.safetensors'"),
        ("artist/small/unet/diffusion_pytorch_model.bin", ModelLoadFailed, "is a pickle"),
        ("artist/pickles", ModelLoadFailed, "is a pickle"),
        ("artist/video", ModelLoadFailed, "is a WanPipeline, which this version cannot run; .*FLUX.1"),
        ("artist/many", FailedPrecondition, "several files; name one of them"),
        ("artist/empty", ModelLoadFailed, "no .safetensors"),
        ("nonsense", SourceNotFound, "no recommended model"),
        ("http://example.org/a.safetensors", InvalidRequest, "use https"),
        ("file:///etc/passwd", InvalidRequest, "use https"),
        ("https://example.org/model.ckpt", ModelLoadFailed, "is a pickle"),
        ("/nowhere/model.safetensors", SourceNotFound, "There is no file"),
        ("/nowhere/model.ckpt", ModelLoadFailed, "is a pickle"),
        ("artist/hollow", ModelLoadFailed, "artist/hollow is not whole: nothing of its .* is there"),
    ],
)  # fmt: skip
def test_sources_that_are_refused(
    hub: FakeHub, tmp_path: Path, source: str, kind: type[ScumbleServerError], words: str
) -> None:
    hub.repositories["artist/gated"] = {}
    hub.gated.add("artist/gated")
    hub.repositories["artist/pickles"] = {"model.ckpt": b"PK"}
    hub.repositories["artist/video"] = {"model_index.json": b'{"_class_name": "WanPipeline"}'}
    index = hub.repositories["artist/small"]["model_index.json"]
    hub.repositories["artist/hollow"] = {"model_index.json": index}
    hub.repositories["artist/empty"] = {"README.md": b"hello"}
    lora = save(_LORA)
    hub.repositories["artist/many"] = {"a.safetensors": lora, "b.safetensors": lora}
    with pytest.raises(kind, match=words) as caught:
        installer(hub, tmp_path).offer(source)
    assert "\n" not in caught.value.message


def test_files_go_to_the_shelf_of_their_kind(hub: FakeHub, tmp_path: Path) -> None:
    lora = install(hub, tmp_path, "artist/lora")
    assert lora.path == tmp_path / "adapters" / "lora.safetensors"
    path = tmp_path / "here.safetensors"
    save_file({"emb_params": torch.zeros(2, 768)}, path)
    one = installer(hub, tmp_path)
    assert (
        one.install(one.offer(str(path)), quiet).path == tmp_path / "adapters" / "here.safetensors"
    )
    assert path.is_file(), "the original stays"
    hub.repositories[""] = {"web.safetensors": save(_LORA)}
    web = install(hub, tmp_path, f"{hub.address}/web.safetensors")
    assert web.path == tmp_path / "adapters" / "web.safetensors"
    hub.repositories["artist/depth"] = {
        "config.json": b'{"_class_name": "ControlNetModel"}',
        "diffusion_pytorch_model.fp16.safetensors": save(
            {"controlnet_cond_embedding.w": torch.zeros(1)}
        ),
        "diffusion_pytorch_model.safetensors": save(
            {"controlnet_cond_embedding.w": torch.zeros(2)}
        ),
    }
    depth = install(hub, tmp_path, "artist/depth")
    assert depth.path == tmp_path / "controls" / "depth"
    assert not (depth.path / "diffusion_pytorch_model.safetensors").exists(), (
        "half precision is enough"
    )
    assert {one.where(name) for name in ("lora", "here", "web")} == {Shelf.ADAPTERS}
    line = tmp_path / "line.safetensors"
    key = "control_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
    hint = {"control_model.input_hint_block.0.weight": torch.zeros(16, 3, 3, 3)}
    save_file({key: torch.zeros(4, 768), **hint}, line)
    assert one.install(one.offer(str(line)), quiet).path == tmp_path / "controls" / line.name
    hub.repositories["artist/flux"] = {
        "config.json": b'{"_class_name": "FluxControlNetModel"}',
        "diffusion_pytorch_model.safetensors": save({"x_embedder.weight": torch.zeros(1)}),
    }
    assert install(hub, tmp_path, "artist/flux").path == tmp_path / "controls" / "flux"


def test_an_ip_adapter_comes_with_its_image_encoder(hub: FakeHub, tmp_path: Path) -> None:
    """The few files that are wanted of a repository with many; another adapter then uses the same encoder."""
    adapter = {
        "image_proj.proj.weight": torch.zeros(4 * 768, 1024),
        "ip_adapter.1.to_k_ip.weight": torch.zeros(320, 768),
    }
    hub.repositories["h94/IP-Adapter"] = {
        "models/ip-adapter_sd15.safetensors": save(adapter),
        "models/ip-adapter_sd15.bin": b"PK",
        "models/other.safetensors": save(adapter),
        "models/image_encoder/config.json": b'{"projection_dim": 1024, "hidden_size": 1280}',
        "models/image_encoder/model.safetensors": save({"w": torch.zeros(3)}),
    }
    installed = install(hub, tmp_path, "sd15-reference")
    assert installed.path == tmp_path / "references" / "sd15-reference"
    weights = sorted(it.name for it in installed.path.rglob("*.safetensors"))
    assert weights == ["ip-adapter_sd15.safetensors", "model.safetensors"]
    other = install(hub, tmp_path, "h94/IP-Adapter/models/other.safetensors")
    assert other.path == tmp_path / "references" / "other.safetensors"
    shelf = ReferenceShelf(tmp_path)
    assert [(it.name, it.width) for it in shelf.all()] == [("other", 768), ("sd15-reference", 768)]
    assert {it.encoder.path for it in shelf.all() if it.encoder} == {
        installed.path / "image_encoder"
    }
    faces = {
        "image_proj.proj.0.weight": torch.zeros(9, 512),
        "image_proj.norm.weight": torch.ones(9),
    }
    faces["ip_adapter.1.to_k_ip.weight"] = adapter["ip_adapter.1.to_k_ip.weight"]
    hub.repositories["h94/IP-Adapter"]["faceid.safetensors"] = save(faces)
    with pytest.raises(ModelLoadFailed, match="reads faces"):
        install(hub, tmp_path, "h94/IP-Adapter/faceid.safetensors")
    del hub.repositories["h94/IP-Adapter"]["models/image_encoder/model.safetensors"]
    with pytest.raises(
        SourceNotFound, match=r"has no file 'models/image_encoder/model\.safetensors'"
    ):
        install(hub, tmp_path / "again", "sd15-reference")


def test_a_pickle_under_another_name_does_not_stay(hub: FakeHub, tmp_path: Path) -> None:
    hub.repositories["artist/trap"] = {"nice.safetensors": pickle.dumps({"a": 1})}
    with pytest.raises(ModelLoadFailed, match="is a pickle, which can run code"):
        install(hub, tmp_path, "artist/trap")
    assert not [it for it in tmp_path.rglob("*") if it.is_file()]


@pytest.mark.parametrize("source", ["artist/small", "artist/lora"])
def test_hashes_come_and_go_with_what_is_installed(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setattr(hashes, "WORTH_KEEPING", 1)
    installed = install(hub, tmp_path, source)
    weights = sorted([installed.path, *installed.path.rglob("*.safetensors")])[-1]
    wanted = hashlib.sha256(weights.read_bytes()).hexdigest()
    [told] = [
        told
        for entry in (tmp_path / "hashes").iterdir()
        for path, *told in [json.loads(entry.read_bytes())]
        if path == str(weights)
    ]
    stat = weights.stat()
    assert told == [stat.st_size, stat.st_mtime_ns, wanted]
    installer(hub, tmp_path).remove(installed.name)
    assert not list((tmp_path / "hashes").iterdir())


def test_one_at_a_time(hub: FakeHub, tmp_path: Path) -> None:
    one = installer(hub, tmp_path)
    offer = one.offer("artist/small")
    started, go_on = threading.Event(), threading.Event()

    def wait(_: Progress) -> None:
        started.set()
        assert go_on.wait(60)

    thread = threading.Thread(target=one.install, args=(offer, wait))
    thread.start()
    assert started.wait(60)
    with pytest.raises(FailedPrecondition, match="right now"):
        one.install(offer, quiet)
    go_on.set()
    thread.join(60)
    assert one.where("small") is Shelf.MODELS


def test_more_bytes_than_announced_are_not_taken(hub: FakeHub, tmp_path: Path) -> None:
    hub.repositories[""] = {"web.safetensors": save(_LORA)}
    file = OfferedFile("web.safetensors", f"{hub.address}/web.safetensors", 100)
    with pytest.raises(ModelLoadFailed, match="more than it announced"):
        fetch.fetch(
            file, tmp_path / "part", tmp_path / "whole",
            hub=Hub(hub.address), disk=RealDisk(), count=lambda _: None,
        )  # fmt: skip
