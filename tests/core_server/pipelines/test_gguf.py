"""A diffusers folder whose denoiser is a GGUF file paints what the widened weights paint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from core_server.canvas.geometry import Extent
from core_server.errors import ModelLoadFailed
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.memory import Rung
from core_server.pipelines.placement import place
from core_server.pipelines.request import Parameters, TextToImage
from tests.core_server.pipelines.conftest import quiet
from tests.core_server.pipelines.tiny_families import save_tiny_family

Q8 = gguf.GGMLQuantizationType.Q8_0


def write_gguf(path: Path, tensors: dict[str, Any]) -> dict[str, np.ndarray]:
    """Writes what can be quantised as Q8_0 and the rest as float32. Returns the numbers that stand in the file."""
    writer = gguf.GGUFWriter(path, "flux")
    widened = {}
    for name, tensor in tensors.items():
        values = tensor.float().numpy()
        if values.ndim == 2 and values.shape[1] % 32 == 0 and "embed" not in name:
            packed = gguf.quants.quantize(values, Q8)
            writer.add_tensor(name, packed, raw_dtype=Q8)
            values = gguf.quants.dequantize(packed, Q8)
        else:
            writer.add_tensor(name, values)
        widened[name] = values
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return widened


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(with GGUF, with the same numbers as safetensors)."""
    import torch  # noqa: PLC0415

    root = tmp_path_factory.mktemp("gguf")
    for name in ("packed", "wide"):
        save_tiny_family("flux", root / name)
    file = root / "packed" / "transformer" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    file.unlink()
    widened = write_gguf(file.with_name("flux-q8.gguf"), tensors)
    assert any(not np.array_equal(widened[k], tensors[k].numpy()) for k in tensors)
    wide = {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in widened.items()}
    save_file(wide, root / "wide" / "transformer" / "diffusion_pytorch_model.safetensors")
    return root / "packed", root / "wide"


def _paint(folder: Path, rung: Rung = Rung.RESIDENT) -> np.ndarray:
    runtime = LocalRuntime(str(folder), "cpu", folder.parent)
    place(runtime._model(""), rung)
    parameters = Parameters(prompt="moss", num_inference_steps=2, seed=3)
    request = TextToImage(parameters=parameters, extent=Extent(64, 64))
    [output] = runtime.run(request, {}, quiet)
    return output.pixels.array


def test_the_picture_is_that_of_the_widened_weights(folders: tuple[Path, Path]) -> None:
    packed, wide = (_paint(folder).astype(int) for folder in folders)
    # diffusers widens with torch, the witness with numpy: the last bits may differ.
    assert np.abs(packed - wide).max() <= 1


@pytest.mark.parametrize(
    "rung", [Rung.MODEL_OFFLOAD, Rung.GROUP_OFFLOAD, Rung.QUANTISED], ids=lambda it: it.name.lower()
)
def test_packed_weights_come_and_go(folders: tuple[Path, Path], rung: Rung) -> None:
    there, away = (_paint(folders[0], it).astype(int) for it in (Rung.RESIDENT, rung))
    assert np.abs(there - away).max() <= 1


def test_a_gguf_file_without_its_configuration(folders: tuple[Path, Path]) -> None:
    config = folders[0] / "transformer" / "config.json"
    kept = config.read_text()
    config.unlink()
    try:
        with pytest.raises(ModelLoadFailed, match="needs the config"):
            _paint(folders[0])
    finally:
        config.write_text(kept)
    assert json.loads(kept)["_class_name"] == "FluxTransformer2DModel"


def test_a_gguf_file_beside_the_model_that_it_borrows_from(folders: tuple[Path, Path]) -> None:
    packed, wide = folders
    alone = packed.parent / "alone.gguf"
    alone.write_bytes((packed / "transformer" / "flux-q8.gguf").read_bytes())
    try:
        assert np.array_equal(_paint(alone), _paint(packed))
        alone.with_suffix(".json").write_text(json.dumps({"base": wide.name}))
        assert np.array_equal(_paint(alone), _paint(packed))
    finally:
        alone.unlink()
