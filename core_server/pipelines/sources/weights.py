"""Reads the header of a weights file and judges it by its bytes: .safetensors and GGUF, nothing else. Free of torch.

Formats: https://huggingface.co/docs/safetensors/index#format and
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A pickle can run code when it is loaded, so it is refused
whatever its name says; all numbers in a header are checked against the file before anything believes them.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from core_server.errors import ModelLoadFailed
from core_server.pipelines.sources import gguf_header

MAX_HEADER_BYTES = 100 * 1024 * 1024
"""Longest JSON header that is read; the format's own limit."""
MAX_TENSORS = 200_000

SUFFIXES = (".safetensors", ".gguf")
"""Names that weights may have; what is inside is found out separately."""
PICKLE_SUFFIXES = (".ckpt", ".pt", ".pth", ".bin", ".pkl", ".t7")

_DTYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "I16": 16, "U16": 16,
    "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64, "C64": 64,
}  # fmt: skip

_CONVERT = (
    "convert it to safetensors on a machine where running its code does no harm "
    "(docs/models.md has ten lines that do it: torch.load with weights_only, then safetensors.torch.save_file), or get "
    "the .safetensors version"
)


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """dtype: the format's own name, such as "F16" or "Q4_K". shape: as torch would say it."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WeightsHeader:
    """What a weights file says about itself. format: "safetensors" or "gguf". metadata: texts by name."""

    format: str
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]

    def shape(self, key: str) -> tuple[int, ...]:
        """The shape of a tensor; () if there is none of that name."""
        info = self.tensors.get(key)
        return info.shape if info is not None else ()


def read_header(path: Path, name: str = "") -> WeightsHeader:
    """The header of a weights file. name: what sentences call it, if not by the file's own.

    Errors: ModelLoadFailed in one sentence for pickles under any name, other formats, headers that are broken, too
    long or at odds with the file's size.
    """
    name = name or path.name
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            start = stream.read(16)
            if _is_pickle(start):
                raise ModelLoadFailed(
                    f"{name} is a pickle, which can run code when it is loaded, whatever its name says; "
                    f"{_CONVERT}."
                )
            stream.seek(0)
            if start[:4] == gguf_header.MAGIC:
                return _gguf(name, stream, size)
            return _safetensors(name, stream, size)
    except OSError as error:
        raise ModelLoadFailed(
            f"{name} cannot be read ({error.strerror or error}); check that it is there and yours."
        ) from error


def refuse_pickle_name(name: str) -> None:
    """Refuses a file whose name already says pickle, before it is fetched. Errors: ModelLoadFailed."""
    if Path(name).suffix.lower() in PICKLE_SUFFIXES:
        raise ModelLoadFailed(pickle_sentence(name))


def pickle_sentence(name: str) -> str:
    """What is said about a file whose name says pickle."""
    return f"{Path(name).name} is a pickle by its name, which can run code when it is loaded; {_CONVERT}."


def unusable_in(folder: Path) -> str:
    """A sentence, with a space before it, about the first file in a folder or its folders that is no weights file but
    lies there for one; "" if there is none."""
    for path in sorted((*folder.glob("*"), *folder.glob("*/*"))):
        is_pickle = path.suffix.lower() in PICKLE_SUFFIXES
        if is_pickle and any(path.parent.glob("*.safetensors")) and path.parent != folder:
            continue  # another copy of what is there
        if is_pickle or path.suffix in SUFFIXES:
            try:
                refuse_pickle_name(path.name)
                read_header(path)
            except ModelLoadFailed as error:
                return f" What lies in `{folder.name}` already cannot be used: {error.message}"
    return ""


def _is_pickle(start: bytes) -> bool:
    if (
        start[8:9] == b"{"
    ):  # a .safetensors header; its length, which stands first, may be any bytes
        return False
    return (
        start.startswith((b"PK\x03\x04", b"\x1f\x8b"))  # torch.save is a zip archive; .tar.gz
        or (
            start[:1] == b"\x80" and start[1:2] <= b"\x05"
        )  # the PROTO opcode: older torch, plain pickle
        or start.startswith((b"(dp", b"(lp", b"}q", b"]q", b"ccopy_reg", b"cposix", b"cos\n"))
    )


def _safetensors(name: str, stream: BinaryIO, size: int) -> WeightsHeader:
    start = stream.read(9)
    length = struct.unpack("<Q", start[:8])[0] if len(start) == 9 else 0
    if length > MAX_HEADER_BYTES and start[8:] == b"{":
        raise ModelLoadFailed(
            f"{name} announces a header of {length} bytes; at most {MAX_HEADER_BYTES} are read. The file is not "
            "a model, or it is broken; download it again."
        )
    if not 2 <= length <= MAX_HEADER_BYTES or start[8:] != b"{":
        stream.seek(0)
        raise ModelLoadFailed(_something_else(name, stream.read(64)))
    if 8 + length > size:
        _cut_off(name)
    stream.seek(8)
    try:
        content = json.loads(stream.read(length))
        metadata = content.pop("__metadata__", {})
        entries = {key: _entry(value) for key, value in content.items()}
        texts = {str(key): str(value) for key, value in dict(metadata).items()}
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise ModelLoadFailed(f"The header of {name} is broken; download it again.") from error
    if len(entries) > MAX_TENSORS:
        raise ModelLoadFailed(
            f"{name} announces {len(entries)} tensors; at most {MAX_TENSORS} are read. The file is not a model, or it "
            "is broken; download it again."
        )
    if 8 + length + max((end for _, end in entries.values()), default=0) > size:
        _cut_off(name)
    return WeightsHeader("safetensors", {key: info for key, (info, _) in entries.items()}, texts)


def _entry(value: Any) -> tuple[TensorInfo, int]:
    """A tensor and where its data end. Errors: ValueError where numbers contradict each other."""
    shape = tuple(value["shape"])
    begin, end = value["data_offsets"]
    numbers = (*shape, begin, end)
    if not all(isinstance(number, int) and number >= 0 for number in numbers) or end < begin:
        raise ValueError("offsets")
    bits = _DTYPE_BITS.get(value["dtype"])
    if bits is not None and (end - begin) * 8 != math.prod(shape) * bits:
        raise ValueError("size")
    return TensorInfo(str(value["dtype"]), shape), end


def _gguf(name: str, stream: BinaryIO, size: int) -> WeightsHeader:
    try:
        metadata, tensors, end = gguf_header.read(stream, MAX_HEADER_BYTES, MAX_TENSORS)
    except EOFError:
        _cut_off(name)
    except ValueError as error:
        raise ModelLoadFailed(
            f"The header of {name} is broken ({error}); download it again."
        ) from error
    if end > size:
        _cut_off(name)
    found = {key: TensorInfo(dtype, shape) for key, (dtype, shape) in tensors.items()}
    return WeightsHeader("gguf", found, metadata)


def _cut_off(name: str) -> NoReturn:
    raise ModelLoadFailed(f"{name} is cut off; download it again.")


def _something_else(name: str, start: bytes) -> str:
    """What people have instead of weights when a download went wrong."""
    if not start:
        return f"{name} is empty; download it again."
    if start.startswith(b"version https://git-lfs"):
        return (
            f"{name} is a note of Git LFS that stands for the weights, not the weights; fetch them with `git lfs pull` "
            "or download the file from its page."
        )
    if start.lstrip().startswith((b"<", b"{")):
        return (
            f"{name} is a web page or a server's answer saved under that name, such as one that asks to sign in; open "
            "the download's address in a browser, and download it again from there."
        )
    return f"{name} is not a .safetensors file nor a GGUF file; download it again."
