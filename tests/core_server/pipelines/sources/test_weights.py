"""Weights files judged by their bytes, and what they are by their tensors' names."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from core_server.errors import ModelLoadFailed
from core_server.pipelines.folder import check_part
from core_server.pipelines.sources.recognise import FileKind, recognise
from core_server.pipelines.sources.weights import (
    MAX_HEADER_BYTES,
    TensorInfo,
    WeightsHeader,
    read_header,
    refuse_pickle_name,
)


def _file(header: object, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return struct.pack("<Q", len(text)) + text + data


def _tensor(shape: list[int], begin: int, end: int) -> dict[str, object]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}


def _torch_pickle(legacy: bool) -> bytes:
    stream = io.BytesIO()
    torch.save({"a": torch.zeros(2)}, stream, _use_new_zipfile_serialization=not legacy)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (_torch_pickle(legacy=False), "is a pickle, which can run code.*torch.load"),
        (_torch_pickle(legacy=True), "is a pickle"),
        (pickle.dumps({"a": 1}, protocol=0), "is a pickle"),
        (pickle.dumps({"a": 1}, protocol=2), "is a pickle"),
        (pickle.dumps({"a": list(range(99))}, protocol=4), "is a pickle"),
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"<!doctype html><title>Sign in</title>", "a web page"),
        (b'{"error": "unauthorised"}', "a server's answer"),
        (b"\xff" * 99, "not a .safetensors file nor"),
        (_file(b"{broken}"), "header of .* is broken"),
        (_file(b"[" * 100_000), "not a .safetensors file"),
        (_file(b'{"a":' * 50_000 + b"1" + b"}" * 50_000), "is broken"),
        (struct.pack("<Q", MAX_HEADER_BYTES + 1) + b"{}", "announces a header of"),
        (struct.pack("<Q", 4096) + b'{"a":1}', "cut off"),
        (_file({"w": _tensor([9], 0, 36)}, b"\0" * 8), "cut off"),
        (_file({"w": _tensor([9], 0, 8)}, b"\0" * 8), "is broken"),
        (_file({"w": _tensor([-1], 0, 4)}, b"\0" * 8), "is broken"),
        (_file({"w": _tensor([1], 8, 4)}, b"\0" * 8), "is broken"),
        (_file({"w": {"dtype": "F32"}}), "is broken"),
        (b"GGUF" + b"\0" * 4, "cut off"),
        (b"GGUF" + struct.pack("<IQQ", 9, 0, 0), "is broken .version 9"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "is broken"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**60), "longer than what is read"),
    ],
    ids=[
        "torch zip", "torch legacy", "protocol 0", "protocol 2", "protocol 4", "empty", "lfs", "html", "answer",
        "noise", "not JSON", "no object", "nested", "huge header", "header cut", "data cut", "shape lies",
        "negative", "backwards", "no shape", "gguf cut", "gguf version", "gguf tensors", "gguf text",
    ],
)  # fmt: skip
def test_bad_files_get_one_sentence(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelLoadFailed, match=words) as caught:
        read_header(path)
    assert "\n" not in caught.value.message


@settings(max_examples=150, deadline=None)
@given(
    content=st.binary(max_size=200),
    start=st.sampled_from([b"", b"GGUF\3\0\0\0", b"\x10" + b"\0" * 7 + b"{"]),
)
def test_no_bytes_get_past_with_another_error(
    tmp_path_factory, content: bytes, start: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    path.write_bytes(start + content)
    with contextlib.suppress(ModelLoadFailed):
        read_header(path)


def test_a_header_length_that_looks_like_a_pickle_is_none(tmp_path: Path) -> None:
    """80 02 and PK are lengths that a safetensors header may have."""
    for wanted in (0x0280, 0x04034B50 & 0xFFFF):
        path = tmp_path / "model.safetensors"
        name = "w" * (wanted - len(json.dumps({"": _tensor([1], 0, 4)})))
        path.write_bytes(_file({name: _tensor([1], 0, 4)}, b"\0" * 4))
        assert path.read_bytes()[:2] == struct.pack("<H", wanted)
        assert read_header(path).tensors == {name: TensorInfo("F32", (1,))}


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadFailed, match="cannot be read"):
        read_header(tmp_path / "gone.safetensors")


@pytest.mark.parametrize("name", ["a.ckpt", "deep/b.pt", "C.PTH", "model.bin"])
def test_pickles_are_refused_by_name_before_they_are_fetched(name: str) -> None:
    with pytest.raises(ModelLoadFailed, match="pickle by its name"):
        refuse_pickle_name(name)


def test_a_gguf_header_is_what_the_package_wrote(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "flux")
    writer.add_string("general.name", "tiny")
    writer.add_array("some.words", ["a", "b"])
    weight = np.arange(2 * 64, dtype=np.float32).reshape(2, 64)
    writer.add_tensor("plain", weight)
    quantised = gguf.quants.quantize(weight, gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("small", quantised, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    header = read_header(path)
    assert header.format == "gguf"
    assert header.metadata["general.name"] == "tiny"
    assert header.tensors == {
        "plain": TensorInfo("F32", (2, 64)),
        "small": TensorInfo("Q8_0", (2, 64)),
    }
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ModelLoadFailed, match="cut off"):
        read_header(path)


XL = "stable_diffusion_xl"
_ATTENTION = "down_blocks.1.attentions.0.transformer_blocks.0.attn2"
_KOHYA = _ATTENTION.replace(".", "_")
_CONTROL = {
    "controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3),
    f"{_ATTENTION}.to_k.weight": (64, 2048),
}


@pytest.mark.parametrize(
    ("tensors", "metadata", "kind", "architecture"),
    [
        ({f"lora_unet_{_KOHYA}_to_k.lora_down.weight": (4, 768)}, {}, "lora", "stable_diffusion"),
        ({f"lora_unet_{_KOHYA}_to_k.lora_down.weight": (4, 2048)}, {}, "lora", XL),
        ({f"unet.{_ATTENTION}.to_v.lora_A.weight": (4, 1024)}, {}, "lora", "stable_diffusion_2"),
        ({"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": (4, 64)}, {}, "lora", "flux"),
        ({"x.lora_A.weight": (4, 64)}, {"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, "lora", XL),
        ({"x.lora_A.weight": (4, 64)}, {}, "lora", ""),
        ({"emb_params": (4, 768)}, {}, "textual_inversion", "stable_diffusion"),
        ({"<cat>": (768,)}, {}, "textual_inversion", "stable_diffusion"),
        ({"clip_l": (2, 768), "clip_g": (2, 1280)}, {}, "textual_inversion", XL),
        (_CONTROL, {}, "controlnet", XL),
        ({"control_all_x_embedder.2-1.weight": (3840, 132)}, {}, "controlnet", "z_image"),
        ({"ip_adapter.1.to_k_ip.weight": (320, 768)}, {}, "ip_adapter", "stable_diffusion"),
        ({"single_stream_modulation.lin.weight": (4, 4)}, {}, "denoiser", "flux_2_klein"),
        ({"model.diffusion_model.layers.0.adaLN_modulation.0.weight": (4, 4)}, {}, "denoiser", "z_image"),
        ({"encoder.conv_in.weight": (4, 3, 3, 3), "decoder.conv_in.weight": (4, 3, 3, 3)}, {}, "autoencoder", ""),
        ({"nothing.known": (3,)}, {}, "unknown", ""),
    ],
)  # fmt: skip
def test_kinds(tensors, metadata, kind, architecture) -> None:
    header = WeightsHeader(
        "safetensors", {key: TensorInfo("F16", shape) for key, shape in tensors.items()}, metadata
    )
    found = recognise(header)
    assert (found.kind, found.architecture) == (FileKind(kind), architecture)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"diffusion_pytorch_model.bin": b"PK"}, "as a pickle alone"),
        ({"m.safetensors.index.json": b'{"weight_map": {"a": "../../secret.safetensors"}}'}, "names the file"),
        ({"m.safetensors.index.json": b'{"weight_map": {"a": "gone.safetensors"}}'}, "not beside it"),
        ({"m.safetensors.index.json": b"[]"}, "is broken"),
    ],
    ids=["pickles", "traversal", "shard missing", "list broken"],
)  # fmt: skip
def test_folders_that_are_refused(tmp_path: Path, files: dict[str, bytes], words: str) -> None:
    part = tmp_path / "unet"
    part.mkdir()
    save_file({"w": torch.zeros(1)}, tmp_path / "other.safetensors")
    for name, content in files.items():
        (part / name).write_bytes(content)
    with pytest.raises(ModelLoadFailed, match=words):
        check_part(part)
