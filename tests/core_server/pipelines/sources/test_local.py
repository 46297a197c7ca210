"""Installing from this computer: no network, no hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from core_server.errors import ModelLoadFailed
from core_server.pipelines.catalogue import Catalogue, profile_of
from core_server.pipelines.sources.install import Installer
from core_server.pipelines.tiny import make_tiny_pipeline


def test_a_folder_of_this_computer_becomes_a_model(tmp_path: Path) -> None:
    """Only what loading needs is copied; links, as in the Hub's cache, are followed."""
    whole = tmp_path / "some where"
    make_tiny_pipeline().save_pretrained(whole)
    (whole / "run_me.py").write_text("print('never')")
    weights = whole / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(tmp_path / "blob")
    weights.symlink_to(tmp_path / "blob")
    one = Installer(tmp_path)
    installed = one.install(one.offer(str(whole)), lambda _: None)
    assert installed.path == tmp_path / "models" / "some-where"
    assert not (installed.path / "run_me.py").exists()
    copy = installed.path / "unet" / weights.name
    assert not copy.is_symlink() and copy.read_bytes() == weights.read_bytes()
    assert profile_of(Catalogue("tiny", tmp_path).find("some-where")).license == "unknown"
    with pytest.raises(ModelLoadFailed, match="has no model_index"):
        one.offer(str(tmp_path))
