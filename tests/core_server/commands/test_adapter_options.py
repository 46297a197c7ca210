"""What `--lora`, `--control` and their like become, and what an earlier recipe gives where they are not given."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from core_server.commands.adapter_options import adapter_settings, add_adapter_options
from core_server.commands.errors import CommandError
from scumble.client import Adapter, AdapterKind, Pixels

RECIPE: dict[str, Any] = {
    "adapters": [{"kind": "lora", "name": "moss", "weight": 0.5, "sha256": "x"}],
    "control_images": [{"kind": "depth", "image": "d" * 64, "weight": 0.8, "network": "n"}],
    "reference_images": [{"image": "e" * 64, "weight": 0.3}],
}


def settings(*arguments: str, recipe: dict[str, Any] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    add_adapter_options(parser)
    return adapter_settings(parser.parse_args(arguments), recipe)


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "a:b.png"  # a colon that begins no weight
    cv2.imwrite(str(path), np.full((3, 5, 3), 9, np.uint8))
    return str(path)


def test_names_files_and_weights(picture: str) -> None:
    found = settings(
        "--lora", "a:-0.5", "--lora", "b", "--textual-inversion", "c:2", "--style", "ink drawing",
        "--control", f"line={picture}:1.5", "--reference", picture, "--reference", f"{picture}:0.1",
    )  # fmt: skip
    lora, word = AdapterKind.LORA, AdapterKind.TEXTUAL_INVERSION
    assert found["adapters"] == (
        Adapter(lora, "a", -0.5),
        Adapter(lora, "b"),
        Adapter(word, "c", 2.0),
    )
    assert found["style"] == "ink drawing"
    [control] = found["control_images"]
    assert (control.kind, control.weight) == ("line", 1.5)
    assert [it.weight for it in found["reference_images"]] == [0.6, 0.1]
    assert isinstance(control.image, Pixels) and control.image.extent == (5, 3)


def test_a_recipe_is_repeated_unless_something_else_is_given(picture: str) -> None:
    assert settings() == settings(recipe={})
    again = settings(recipe=RECIPE)
    assert again["adapters"] == (Adapter(AdapterKind.LORA, "moss", 0.5),)
    assert [(it.kind, it.image, it.weight) for it in again["control_images"]] == [
        ("depth", "d" * 64, 0.8)
    ]
    assert [(it.image, it.weight) for it in again["reference_images"]] == [("e" * 64, 0.3)]
    other = settings("--reference", picture, recipe=RECIPE)
    assert isinstance(other["reference_images"][0].image, Pixels)
    assert len(other["control_images"]) == len(other["adapters"]) == 1


@pytest.mark.parametrize("text", ["depth", "shape=a.png"])
def test_a_control_of_no_kind(text: str) -> None:
    with pytest.raises(CommandError, match="say KIND=IMAGE, where KIND is one of depth, normal"):
        settings("--control", text)
