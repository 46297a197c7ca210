"""Names, paths, places and licences of what is installed, without a network."""

from __future__ import annotations

from pathlib import Path

import pytest

from core_server.errors import InvalidRequest, ModelLoadFailed
from core_server.pipelines.sources.choice import pipeline_files
from core_server.pipelines.sources.hub import HubPlace
from core_server.pipelines.sources.licences import licence_of
from core_server.pipelines.sources.names import checked_name, inside, name_from
from core_server.pipelines.sources.recommended import best_for, recommended


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "C:\\x", "a\\..\\x", "", "a\0b"])
def test_no_path_leads_out(tmp_path: Path, path: str) -> None:
    with pytest.raises(ModelLoadFailed, match="outside the model's folder"):
        inside(tmp_path, path)


@pytest.mark.parametrize(
    "name", ["..", ".x", "a/b", "con", "COM1.x", "default", "x" * 101, "a b", "a.", ""]
)
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot be a name"):
        checked_name(name)


def test_small_things() -> None:
    assert name_from("Artist/My Model (v2).safetensors") == "My-Model-v2"
    assert HubPlace.parse("a/b/c/d.safetensors@v1") == HubPlace("a/b", "c/d.safetensors", "v1")
    assert HubPlace.parse("../b") is None
    assert licence_of("other", "flux-1-dev-non-commercial-license").commercial_use is False
    assert licence_of("other", "mine", "https://x").sentence.endswith("read it at https://x")
    assert licence_of(None).commercial_use is None
    index = {"unet": ["diffusers", "X"], "safety_checker": ["x", "Y"], "_class_name": "Z"}
    names = [
        "unet/a.fp16.safetensors", "unet/a.safetensors", "unet/config.json", "unet/a.safetensors.index.json",
        "unet/a.safetensors.index.fp16.json", "safety_checker/model.safetensors", "unet/deep/b.safetensors",
    ]  # fmt: skip
    assert pipeline_files("it", index, names) == [
        "unet/a.fp16.safetensors", "unet/config.json", "unet/a.safetensors.index.fp16.json",
    ]  # fmt: skip


def test_what_is_recommended() -> None:
    entries = recommended()
    assert len({entry.id for entry in entries}) == len(entries)
    assert all(HubPlace.parse(entry.source) for entry in entries)
    assert best_for(4 << 30)[0].startswith("sd15")
    assert "flux2-klein" in best_for(8 << 30) and "z-image-turbo" not in best_for(8 << 30)
    assert best_for(0) == ()
